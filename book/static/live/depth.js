(() => {
const { line, powerOfTen, random, scale, short, text } = window.liveDraw;

const WIDTH = 64, ROWS = 8;

// The root mean square of what each layer of a fresh ReLU network passes on, against its input's.
function signal(times, depth) {
  const { normal } = random(7);
  let x = Array.from({ length: ROWS }, () => Array.from({ length: WIDTH }, normal));
  const size = (rows) => Math.sqrt(rows.flat().reduce((sum, v) => sum + v * v, 0) / (ROWS * WIDTH));
  const first = size(x), found = [1];
  const spread = times * Math.sqrt(2 / WIDTH);
  for (let layer = 0; layer < depth; layer += 1) {
    const weights = Array.from({ length: WIDTH }, () => Array.from({ length: WIDTH }, () => spread * normal()));
    x = x.map((row) => weights.map((w) => Math.max(0, w.reduce((sum, v, i) => sum + v * row[i], 0))));
    found.push(size(x) / first);
  }
  return found;
}

window.liveFigures.depth = () => {
  return {
    width: 560,
    height: 250,
    handles: [
      { name: "times", label: "size of the weights, times He’s", min: 0.4, max: 2.5, step: 0.05, value: 0.5 },
      { name: "depth", label: "hidden layers", min: 2, max: 32, step: 1, value: 16 },
    ],
    draw({ times, depth }) {
      const found = signal(times, depth);
      const x = scale(0, depth, 60, 540), y = scale(-12, 12, 220, 20);
      const clipped = (value) => Math.max(-12, Math.min(12, Math.log10(Math.max(value, 1e-30))));
      const grid = [-12, -8, -4, 0, 4, 8, 12].map((power) =>
        line([[60, y(power)], [540, y(power)]], power ? "grid" : "zero")
        + text(54, y(power) + 4, power ? powerOfTen(power) : "1", "tick", "end")).join("");
      const last = found.at(-1);
      const end = last < 1e-3 ? "It vanishes." : last > 1e3 ? "It explodes." : "It comes through.";
      return {
        picture: grid + line(found.map((value, layer) => [x(layer), y(clipped(value))]), "path")
          + text(300, 244, "layer", "tick", "middle"),
        says: `Weights ${short(times)} times as large as He’s, ${depth} ReLU layers: the last passes on `
          + `${short(last)} times the input’s size. ${end}`,
      };
    },
  };
};
})();
