(() => {
const { line, random, scale, short } = window.liveDraw;

// Two clouds of points that overlap a little, and logistic regression on them by gradient descent.
const { normal } = random(5);
const POINTS = Array.from({ length: 40 }, (_, i) => {
  const label = i % 2;
  return { x: (label ? 1 : -1) + 0.9 * normal(), y: (label ? 0.6 : -0.6) + 0.9 * normal(), label };
});

function fit(decay) {
  let [a, b, c] = [0, 0, 0];
  for (let step = 0; step < 3000; step += 1) {
    let [da, db, dc] = [decay * a, decay * b, 0];
    for (const { x, y, label } of POINTS) {
      const error = (1 / (1 + Math.exp(-(a * x + b * y + c))) - label) / POINTS.length;
      da += error * x; db += error * y; dc += error;
    }
    const lr = 0.5 / (1 + decay);
    [a, b, c] = [a - lr * da, b - lr * db, c - lr * dc];
  }
  return [a, b, c];
}

window.liveFigures.decay = () => {
  const x = scale(-4, 4, 0, 560), y = scale(-3, 3, 300, 0);
  return {
    width: 560,
    height: 300,
    handles: [
      { name: "power", label: "weight decay λ", min: -4, max: 1, step: 0.1, value: -4,
        show: (power) => short(10 ** power) },
    ],
    draw({ power }) {
      const [a, b, c] = fit(10 ** power);
      const size = Math.hypot(a, b);
      // Where the logit is `level`: a line across the picture.
      const contour = (level, css) => {
        const [px, py] = [a, b].map((w) => w * (level - c) / size ** 2);
        const [dx, dy] = [-b / size, a / size];
        return line([-20, 20].map((t) => [x(px + t * dx), y(py + t * dy)]), css);
      };
      const sure = Math.log(9);
      const dots = POINTS.map((point) => `<${point.label ? "circle" : "rect"} class="${point.label ? "goal" : "dot"}"
        ${point.label ? `cx="${x(point.x)}" cy="${y(point.y)}" r="4"` : `x="${x(point.x) - 4}" y="${y(point.y) - 4}" width="8" height="8"`}/>`);
      return {
        picture: contour(-sure, "grid") + contour(sure, "grid") + contour(0, "path") + dots.join(""),
        says: `With λ = ${short(10 ** power)} the two weights have length ${short(size)}. The boundary hardly moves; `
          + `but the model is nine parts in ten sure only from ${short(sure / size)} away from it on (the thin lines).`,
      };
    },
  };
};
})();
