// Filters and orders the ledger. Without this script it is a plain table, part by part.
(() => {
const tables = [...document.querySelectorAll("table.ledger-full:has(.claim-cell)")];
const home = tables.map((table) => table.tBodies[0]);

// A claim is a row with its sentence, and the rows of its other measurements below it.
const claims = [];
tables.forEach((table, place) => {
  const part = table.closest("section").querySelector("h2").firstChild.textContent.trim();
  for (const row of table.tBodies[0].rows) {
    if (row.querySelector(".claim-cell")) claims.push({ place, part, rows: [], order: claims.length });
    claims.at(-1).rows.push(row);
  }
});
for (const claim of claims) {
  claim.headline = !!claim.rows[0].querySelector(".headline");
  claim.measured = claim.rows.map((row) => ({
    verdict: row.querySelector(".verdict").textContent,
    data: row.querySelector(".measured-cell p").textContent.split(",")[0],
    effect: Number(row.querySelector(".row-interval").dataset.effect),
  }));
  claim.strongest = Math.max(...claim.measured.map(({ effect }) => effect));
}

const every = (list) => [...new Set(list)];
const choices = (name, label, values) => `<label>${label}
  <select name="${name}"><option value="">all</option>${values.map((value) =>
    `<option>${value}</option>`).join("")}</select></label>`;
const form = document.createElement("form");
form.className = "ledger-filter";
form.setAttribute("aria-label", "Filter the claims");
form.innerHTML = `<label class="words">Words <input type="search" name="words" autocomplete="off"></label>
  ${choices("part", "Part", every(claims.map(({ part }) => part)))}
  ${choices("verdict", "Verdict", every(claims.flatMap(({ measured }) => measured.map((m) => m.verdict))))}
  ${choices("data", "Data", every(claims.flatMap(({ measured }) => measured.map((m) => m.data))).sort())}
  <label>Order <select name="order"><option value="">of the book</option>
    <option value="up">strongest first</option><option value="down">most against the sentence first</option></select></label>
  <label class="tick"><input type="checkbox" name="headline"> headlines only</label>
  <output></output>`;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", show);
tables[0].closest("section").before(form);

// Read when a word is first looked for: a page that nobody filters stands sooner.
function text(claim) {
  claim.text ??= claim.rows.map((row) => row.textContent).join(" ").toLowerCase();
  return claim.text;
}

function fits(claim, wanted) {
  return (!wanted.part || claim.part === wanted.part)
    && (!wanted.headline || claim.headline)
    && wanted.words.toLowerCase().split(/\s+/).every((word) => !word || text(claim).includes(word))
    && claim.measured.some(({ verdict, data }) =>
      (!wanted.verdict || verdict === wanted.verdict) && (!wanted.data || data === wanted.data));
}

let order = "";
function show() {
  const wanted = Object.fromEntries(new FormData(form));
  const weakest = (claim) => Math.min(...claim.measured.map(({ effect }) => effect));
  const ordered = claims.toSorted((a, b) => wanted.order === "up" ? b.strongest - a.strongest
    : wanted.order === "down" ? weakest(a) - weakest(b) : a.order - b.order);
  const shown = new Set(ordered.filter((claim) => fits(claim, wanted)));
  for (const claim of ordered) {
    // In an order of their own all stand in one table, the first.
    if (wanted.order !== order) home[wanted.order ? 0 : claim.place].append(...claim.rows);
    for (const row of claim.rows) row.hidden = !shown.has(claim);
  }
  order = wanted.order;
  tables.forEach((table, place) => {
    table.closest("section").hidden = wanted.order
      ? place > 0 : ![...shown].some((claim) => claim.place === place);
  });
  form.querySelector("output").textContent = `${shown.size} of ${claims.length} claims and checks`;
}
show();
})();
