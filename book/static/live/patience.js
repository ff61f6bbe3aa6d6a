(() => {
const { line, scale, short, text } = window.liveDraw;

window.liveFigures.patience = () => {
  const { steps, plain } = window.liveRuns;
  return {
    width: 560,
    height: 250,
    handles: [
      { name: "run", label: "recorded run", min: 1, max: plain.length, step: 1, value: 1, show: String },
      { name: "patience", label: "patience, in records", min: 1, max: 30, step: 1, value: 1, show: String },
    ],
    draw({ run, patience }) {
      const curve = plain[run - 1];
      let best = 0, stop = curve.length - 1;
      for (let i = 1; i < curve.length; i += 1) {
        if (curve[i] > curve[best]) best = i;
        else if (i - best >= patience) { stop = i; break; }
      }
      const top = curve.indexOf(Math.max(...curve));
      const x = scale(0, steps.at(-1), 50, 545), y = scale(0, 1, 215, 15);
      const at = (i) => [x(steps[i]), y(curve[i])];
      const grid = [0, 0.25, 0.5, 0.75, 1].map((v) => line([[50, y(v)], [545, y(v)]], "grid")
        + text(44, y(v) + 4, `${100 * v} %`, "tick", "end")).join("");
      const mark = (i, css) => `<circle class="${css}" cx="${at(i)[0]}" cy="${at(i)[1]}" r="5"/>`;
      const never = stop === curve.length - 1;
      return {
        picture: grid + line(curve.map((_, i) => at(i)), "faint") + line(curve.slice(0, stop + 1).map((_, i) => at(i)), "path")
          + line([[x(steps[stop]), 15], [x(steps[stop]), 215]], "zero") + mark(best, "goal")
          + text(297, 244, "step", "tick", "middle"),
        says: `${never ? "It never stops early" : `It stops at step ${steps[stop]}`} and keeps the weights of step `
          + `${steps[best]}: ${short(100 * curve[best])} % of the validation images. The whole run’s best is `
          + `${short(100 * curve[top])} %, at step ${steps[top]}.`,
      };
    },
  };
};
})();
