// Figures with handles. A page names them; each is a script of its own that draws one picture from
// the values of its handles, and says in a sentence what the picture shows.
(() => {
const folder = new URL("live/", document.currentScript.src);
window.liveFigures = {};

function handle({ name, label, min, max, step, value, show = window.liveDraw.short }, changed) {
  const box = document.createElement("label");
  box.className = "live-handle";
  box.innerHTML = `<span>${label}</span><input type="range" name="${name}" min="${min}" max="${max}"
    step="${step}" value="${value}"><output></output>`;
  const [, input, output] = box.children;
  const read = () => {
    output.textContent = show(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
    return Number(input.value);
  };
  input.addEventListener("input", changed);
  return { box, name, read };
}

function build(figure, { handles, width, height, draw }) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.setAttribute("role", "img");
  const says = document.createElement("p");
  says.className = "live-says";
  says.setAttribute("aria-live", "polite");
  const update = () => {
    const values = Object.fromEntries(made.map(({ name, read }) => [name, read()]));
    const drawn = draw(values);
    picture.innerHTML = drawn.picture;
    picture.setAttribute("aria-label", drawn.says);
    says.textContent = drawn.says;
  };
  const made = handles.map((one) => handle(one, update));
  const row = document.createElement("div");
  row.className = "live-handles";
  row.append(...made.map(({ box }) => box));
  figure.prepend(picture, row, says);
  figure.classList.add("ready");
  update();
}

const load = (name) => new Promise((loaded, failed) => {
  const script = document.createElement("script");
  script.src = new URL(`${name}.js`, folder);
  script.onload = loaded;
  script.onerror = () => failed(new Error(`${script.src} is missing`));
  document.head.append(script);
});

for (const figure of document.querySelectorAll("figure.live")) {
  const { name, runs } = figure.dataset;
  Promise.all([load("draw"), runs && load("runs")]).then(() => load(name))
    .then(() => build(figure, window.liveFigures[name]()))
    .catch((error) => console.error(`the live figure ${name} failed:`, error));
}
})();
