// The search page. An index that Pagefind made finds words; answers.json knows questions that are
// asked in other words than the book's.
const MOST = 10;
// Words that every question has, and that would keep pages without them from being found.
const EMPTY = new Set(("a am an and any are as at be been but by can did do does each every for from get got had "
  + "has have how i if in is it its just me my of on or our s should so some t than that the them then there these "
  + "they this to use used using very vs was we were what when where which while why will with would you your").split(" "));
// What is looked up rather than read comes after what explains it.
const BEHIND = /\/(api|_solutions)\/|\/(exercises|register|claims|glossary|index|changelog|teach|bibliography|cite)\.html|\/$/;
const field = document.querySelector(".book-search input[name=q]");
const list = document.getElementById("search-results");
const state = document.getElementById("search-state");
const root = new URL("..", import.meta.url);

const [pagefind, answers, { words: frequent, terms }] = await Promise.all([
  import(new URL("pagefind/pagefind.js", root)),
  ...["answers.json", "words.json"].map((name) =>
    fetch(new URL(`_static/${name}`, root)).then((reply) => reply.json())),
]);
await pagefind.options({ baseUrl: root.pathname, excerptLength: 24 });

// What readers write for short, as the book writes it.
const SHORT = {
  acc: "accuracy", accs: "accuracy", aug: "augmentation", augs: "augmentation",
  backprop: "back propagation", batchnorm: "batch norm", batchsize: "batch size",
  bn: "batch norm", ce: "cross entropy", cnn: "convolution", cnns: "convolution",
  convnet: "convolution", dl: "deep learning", earlystopping: "early stopping",
  finetune: "fine tune", finetuned: "fine tuned", finetuning: "fine tuning", fp16: "half precision",
  grad: "gradient", grads: "gradients", gn: "group norm", groupnorm: "group norm",
  hparam: "hyperparameter", hparams: "hyperparameters", hps: "hyperparameters",
  hyperparam: "hyperparameter", hyperparams: "hyperparameters", img: "image", imgs: "images",
  inits: "initialization", layernorm: "layer norm", llm: "language model", llms: "language model",
  ln: "layer norm", lr: "learning rate", lrs: "learning rate", nn: "network", nns: "networks",
  nets: "networks", opt: "optimizer", overfits: "overfitting", param: "parameter", params: "parameters",
  pic: "picture", pics: "pictures", preds: "predictions", reg: "regularization",
  std: "standard deviation", stdev: "standard deviation", val: "validation", vit: "transformer",
  wd: "weight decay",
};

// What a network learns from has many names, and each stands for all.
const EXAMPLE = new Set("data imag image pictur photo sampl exampl".split(" "));

// Endings count for little: "explodes" asks what "exploding" asks.
const ending = /(ations?|ings?|ed|ences?|ent|es|s|e)$/;
const stem = (word) => {
  const most = word.length > 4 ? word.replace(ending, "") : word;
  return EXAMPLE.has(most) ? "data" : most;
};
const letters = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
const split = (text) => letters(text)
  .flatMap((word) => (Object.hasOwn(SHORT, word) ? SHORT[word].split(" ") : word));
const telling = (words, least = 1) => {
  const some = words.filter((word) => !EMPTY.has(word));
  return some.length < least ? words : some;
};
// Of "where to start" the one telling word would fit too much.
for (const answer of answers)
  answer.stems = answer.asked.map((question) => [...new Set(telling(split(question), 2).map(stem))]);

// The words of the book, the most frequent first.
const known = new Set([...frequent, ...answers.flatMap((answer) => answer.asked.flatMap(split))]);

// How many letters must be changed, added, dropped or swapped to make one word of another.
function apart(one, other) {
  let [before, last, row] = [[], [], [...Array(other.length + 1).keys()]];
  for (let i = 1; i <= one.length; i++) {
    [before, last, row] = [last, row, [i]];
    for (let j = 1; j <= other.length; j++) {
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (one[i - 1] !== other[j - 1]));
      if (one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1])
        row[j] = Math.min(row[j], before[j - 2] + 1);
    }
  }
  return row[other.length];
}

// A word that the book has not, as the book spells it: "droput" is dropout.
function mended(word) {
  if (word.length < 4 || /[^a-z]/.test(word) || known.has(word)) return word;
  const other = [word.replace(/is(?=(e[drs]?|ing|ations?)$)/, "iz"), word.replace(/iz(?=(e[drs]?|ing|ations?)$)/, "is"),
    word.replace("our", "or"), word.replace("or", "our")].find((one) => known.has(one));
  if (other) return other;
  // Who is still typing has made no mistake yet.
  if (frequent.some((one) => one.startsWith(word))) return word;
  const near = (one) => {
    if (Math.abs(one.length - word.length) > 2) return 9;
    if (word.length === 4) return [...one].sort().join() === [...word].sort().join() ? apart(word, one) : 9;
    return one[0] === word[0] || one[0] === word[1] && one[1] === word[0] ? apart(word, one) : 9;
  };
  const most = word.length < 8 ? 1 : 2;
  let [best, least] = [word, most + 1];
  for (const one of known) {
    const far = near(one);
    if (far < least) [best, least] = [one, far];
  }
  return best;
}

// An answer fits when one of its questions lies wholly in the query; the longest such one decides.
function fitting(words) {
  const asked = new Set(words.map(stem));
  const fit = (answer) => Math.max(0, ...answer.stems.map((wanted) =>
    (wanted.every((word) => asked.has(word)) ? wanted.length : 0)));
  return answers.map((answer) => [fit(answer), answer]).filter(([fits]) => fits)
    .sort((a, b) => b[0] - a[0]).slice(0, 2).map(([, answer]) => answer);
}

// Who asks what a word means is answered by the glossary.
function meant(query, words) {
  if (!/^\s*(what('?s|\s+(is|are|does))|define|definition|meaning)\b|\b(mean|means|meaning|definition)\W*$/i.test(query))
    return [];
  const asked = words.filter((word) => !EMPTY.has(word) && !/^(mean(s|ing)?|defin(e|ition)|what|whats)$/.test(word));
  const fits = ([, term]) => {
    const names = split(term);
    return asked.length === names.length && names.every((name, at) => name.startsWith(stem(asked[at])));
  };
  return terms.filter(fits).sort((a, b) => a[1].length - b[1].length).slice(0, 1);
}

function entry(url, title, excerpt, below = []) {
  const item = document.createElement("li");
  const link = item.appendChild(document.createElement("a"));
  link.href = url;
  link.textContent = title;
  if (excerpt) item.appendChild(document.createElement("p")).innerHTML = excerpt;
  if (below.length) item.appendChild(document.createElement("ul")).append(...below);
  return item;
}

function found(page, wanted) {
  const title = page.meta.title;
  const below = page.sub_results.filter((part) => part.title !== title && hits(part.excerpt, wanted)).slice(0, 3)
    .map((part) => entry(part.url, part.title, part.excerpt));
  return entry(page.url, title, below.length ? "" : page.excerpt, below);
}

// Of a word that it does not know Pagefind looks up the first letters: "z" is no find for "zyzzyva", nor is
// DeCoste for "decreasing".
function hits(excerpt, telling) {
  const marked = [...excerpt.matchAll(/<mark>(.*?)<\/mark>/g)].map(([, text]) => text.toLowerCase());
  return telling.some((word) => marked.some((text) => text.includes(word.toLowerCase().slice(0, 4))));
}

// Pages with all words; if there are next to none, those with most, a rare word counting for more.
async function best(words) {
  const { results } = await pagefind.search(words.join(" "));
  if (results.length > 2 || words.length < 2) return results;
  const pages = new Map();
  const each = await Promise.all(words.map((word) => pagefind.search(word)));
  for (const { results: some } of each) {
    const rare = Math.log(1 + 40 / (some.length || 1));
    for (const result of some) {
      const score = rare * result.score / some[0].score;
      const sofar = pages.get(result.id) ?? { ...result, score: 0, part: 0 };
      if (score > sofar.part) Object.assign(sofar, { data: result.data, part: score });
      sofar.score += score;
      pages.set(result.id, sofar);
    }
  }
  return [...pages.values()].sort((a, b) => b.score - a.score);
}

let latest = "";
async function search(query) {
  latest = query;
  if (!query.trim()) return list.replaceChildren();
  const words = split(query).map(mended);
  const known = [
    ...meant(query, words).map(([place, term, says]) =>
      entry(new URL(`chapters/reference/glossary.html#${place}`, root), `Glossary: ${term}`, says)),
    ...fitting(words).map((answer) => entry(new URL(answer.page, root), answer.title, answer.says)),
  ];
  const wanted = telling(words);
  const results = await best(wanted);
  const read = await Promise.all(results.slice(0, 2 * MOST).map(async (result) => {
    const page = await result.data();
    return { page, score: result.score * (BEHIND.test(page.url) ? 0.4 : 1) };
  }));
  if (query !== latest) return;  // a later key has asked anew
  const pages = read.filter(({ page }) => hits(page.excerpt, wanted)).sort((a, b) => b.score - a.score)
    .slice(0, MOST).map(({ page }) => page);
  list.replaceChildren(...known, ...pages.map((page) => found(page, wanted)));
  const asked = letters(query).join(" ") === words.join(" ") ? "" : ` (read as “${words.join(" ")}”)`;
  state.textContent = list.childElementCount
    ? `The best ${list.childElementCount} places for “${query}”${asked}`
    : `Nothing for “${query}”${asked}. Try fewer or other words.`;
}

// Who was quicker than the index keeps what is typed already.
field.value ||= new URLSearchParams(location.search).get("q") ?? "";
field.addEventListener("input", () => search(field.value));
await search(field.value);
