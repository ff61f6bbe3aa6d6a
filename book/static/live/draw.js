// What the figures draw with. All of this are plain scripts: a page that is opened from a folder may
// load no modules.
window.liveDraw = (() => {

/** Numbers on a picture's scale: from a range to pixels. */
const scale = (low, high, from, to) => (value) =>
  from + (to - from) * (value - low) / (high - low);

/** Seeded random numbers, the same in every browser (mulberry32), and normal ones. */
function random(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

/** A line through points, in pixels. */
const line = (points, css) =>
  `<polyline class="${css}" points="${points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ")}"/>`;

const text = (x, y, words, css = "", anchor = "start") =>
  `<text x="${x}" y="${y}" class="${css}" text-anchor="${anchor}">${words}</text>`;

/** Two digits that matter, without powers of ten where they can be avoided. */
function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 10000 && size >= 0.0001) return String(Number(value.toPrecision(2)));
  const power = Math.floor(Math.log10(size));
  return `${(value / 10 ** power).toFixed(1)} × ${powerOfTen(power)}`;
}

/** As it is printed: 10⁻⁵. */
const powerOfTen = (power) =>
  `10${[...String(power)].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("")}`;

return { line, powerOfTen, random, scale, short, text };
})();
