// The search page. An index that Pagefind made finds words; answers.json knows questions that are
// asked in other words than the book's.
const MOST = 10;
// Words that every question has, and that would keep pages without them from being found.
const EMPTY = new Set(("a an and are at be by can do does for how i in is it me my of on or should "
  + "the there this to use using vs what when where which why will with").split(" "));
// What is looked up rather than read comes after what explains it.
const BEHIND = /\/(api|_solutions)\/|\/(exercises|register|claims|index|changelog|teach|bibliography|cite)\.html|\/$/;
const field = document.querySelector(".book-search input[name=q]");
const list = document.getElementById("search-results");
const state = document.getElementById("search-state");
const root = new URL("..", import.meta.url);

const [pagefind, answers] = await Promise.all([
  import(new URL("pagefind/pagefind.js", root)),
  fetch(new URL("_static/answers.json", root)).then((reply) => reply.json()),
]);
await pagefind.options({ baseUrl: root.pathname, excerptLength: 24 });

// Endings count for little: "explodes" asks what "exploding" asks.
const stem = (word) => (word.length > 4 ? word.replace(/(ations?|ings?|ed|es|s|e)$/, "") : word);
const words = (text) => new Set((text.toLowerCase().match(/[a-z0-9]+/g) ?? []).map(stem));

// An answer fits when one of its questions lies wholly in the query; the longest such one decides.
function fitting(query) {
  const asked = words(query);
  const fit = (answer) => Math.max(0, ...answer.asked.map((question) => {
    const telling = question.split(" ").filter((word) => !EMPTY.has(word));
    const wanted = [...words(telling.length > 1 ? telling.join(" ") : question)];
    return wanted.every((word) => asked.has(word)) ? wanted.length : 0;
  }));
  return answers.map((answer) => [fit(answer), answer]).filter(([fits]) => fits)
    .sort((a, b) => b[0] - a[0]).slice(0, 2).map(([, answer]) => answer);
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

function found(page) {
  const title = page.meta.title;
  const below = page.sub_results.filter((part) => part.title !== title).slice(0, 3)
    .map((part) => entry(part.url, part.title, part.excerpt));
  return entry(page.url, title, below.length ? "" : page.excerpt, below);
}

// Of a word that it does not know Pagefind looks up the first letters: "z" is no find for "zyzzyva".
function hits(excerpt, telling) {
  const marked = [...excerpt.matchAll(/<mark>(.*?)<\/mark>/g)].map(([, text]) => text.toLowerCase());
  return telling.some((word) => marked.some((text) => text.includes(word.toLowerCase().slice(0, 3))));
}

// No page may have all the words: then the word is left out without which most pages are found.
async function best(telling, query) {
  const { results } = await pagefind.search(telling.join(" ") || query);
  if (results.length || telling.length < 2) return results;
  const fewer = await Promise.all(telling.map((_, left) =>
    pagefind.search(telling.filter((_, at) => at !== left).join(" "))));
  return fewer.map((one) => one.results).sort((a, b) => b.length - a.length)[0];
}

let latest = "";
async function search(query) {
  latest = query;
  if (!query.trim()) return list.replaceChildren();
  const known = fitting(query).map((answer) =>
    entry(new URL(answer.page, root), answer.title, answer.says));
  const telling = query.split(/\s+/).filter((word) => !EMPTY.has(word.toLowerCase()));
  const results = await best(telling, query);
  const read = await Promise.all(results.slice(0, 2 * MOST).map(async (result) => {
    const page = await result.data();
    return { page, score: result.score * (BEHIND.test(page.url) ? 0.4 : 1) };
  }));
  if (query !== latest) return;  // a later key has asked anew
  const pages = read.filter(({ page }) => hits(page.excerpt, telling)).sort((a, b) => b.score - a.score)
    .slice(0, MOST).map(({ page }) => page);
  list.replaceChildren(...known, ...pages.map(found));
  state.textContent = list.childElementCount
    ? `The best ${list.childElementCount} places for “${query}”`
    : `Nothing for “${query}”. Try fewer or other words.`;
}

field.value = new URLSearchParams(location.search).get("q") ?? "";
field.addEventListener("input", () => search(field.value));
await search(field.value);
