(() => {
const { random, short } = window.liveDraw;

const LAYERS = [5, 8, 8, 3];

window.liveFigures.masks = () => {
  return {
    width: 560,
    height: 240,
    handles: [
      { name: "p", label: "share dropped, p", min: 0, max: 0.9, step: 0.05, value: 0.5 },
      { name: "step", label: "training step", min: 1, max: 30, step: 1, value: 1, show: String },
    ],
    draw({ p, step }) {
      const { uniform } = random(100 * step);
      const units = LAYERS.map((count, layer) => Array.from({ length: count }, (_, i) => ({
        x: 60 + 147 * layer,
        y: 120 + 27 * (i - (count - 1) / 2),
        kept: uniform() >= p || layer === 0 || layer === LAYERS.length - 1,
      })));
      const wires = units.slice(1).flatMap((layer, i) => layer.flatMap((to) => units[i].map((from) =>
        from.kept && to.kept ? `<line class="wire" x1="${from.x}" y1="${from.y}" x2="${to.x}" y2="${to.y}"/>` : "")));
      const dots = units.flat().map((unit) =>
        `<circle class="${unit.kept ? "unit" : "unit dropped"}" cx="${unit.x}" cy="${unit.y}" r="9"/>`);
      const dropped = units.flat().filter((unit) => !unit.kept).length;
      return {
        picture: wires.join("") + dots.join(""),
        says: `Step ${step}: ${dropped} of ${LAYERS[1] + LAYERS[2]} hidden units are dropped. The outputs of the `
          + `others are multiplied by 1 / (1 − p) = ${short(1 / (1 - p))}, so that sums keep their size on average.`,
      };
    },
  };
};
})();
