(() => {
const { line, scale, text } = window.liveDraw;

window.liveFigures.budget = () => {
  const { steps, margin, lead: found } = window.liveRuns;
  const points = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`;
  return {
    width: 560,
    height: 260,
    handles: [
      { name: "at", label: "training steps", min: 0, max: steps.length - 1, step: 1, value: 9,
        show: (i) => String(steps[i]) },
    ],
    draw({ at }) {
      const x = scale(0, steps.at(-1), 60, 545), y = scale(-0.3, 0.7, 220, 15);
      const inside = (value) => Math.max(-0.3, Math.min(0.7, value));
      const band = [...found.map((f, i) => [x(steps[i]), y(inside(f.high))]),
        ...found.map((f, i) => [x(steps[i]), y(inside(f.low))]).reverse()];
      const grid = [-0.2, 0, 0.2, 0.4, 0.6].map((v) => line([[60, y(v)], [545, y(v)]], v ? "grid" : "zero")
        + text(54, y(v) + 4, v ? points(v).slice(0, -2) : "0", "tick", "end")).join("");
      const { mean, low, high, verdict } = found[at], here = x(steps[at]);
      return {
        picture: `<rect class="matters-not" x="60" width="485" y="${y(margin)}" height="${y(-margin) - y(margin)}"/>`
          + grid + `<polygon class="band" points="${band.map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" ")}"/>`
          + line(found.map((f, i) => [x(steps[i]), y(inside(f.mean))]), "path")
          + line([[here, y(inside(low))], [here, y(inside(high))]], "handle")
          + `<circle class="goal" cx="${here}" cy="${y(inside(mean))}" r="5"/>`
          + text(302, 252, "training steps", "tick", "middle"),
        says: `After ${steps[at]} steps batch norm’s lead is ${points(mean)} points of validation accuracy, 99 % interval `
          + `${points(low)} to ${points(high)}: ${verdict}.`,
      };
    },
  };
};
})();
