(() => {
const { line, scale, short } = window.liveDraw;

const STEEP = 20, STEPS = 60, START = [-9, 2.2];
const height = ([x, y]) => 0.5 * (x * x + STEEP * y * y);

function walk(lr, mu) {
  let place = START, speed = [0, 0];
  const path = [place];
  for (let step = 0; step < STEPS && Math.abs(place[1]) < 1e3; step += 1) {
    const slope = [place[0], STEEP * place[1]];
    speed = speed.map((v, i) => mu * v + slope[i]);
    place = place.map((p, i) => p - lr * speed[i]);
    path.push(place);
  }
  return path;
}

window.liveFigures.ravine = () => {
  const x = scale(-10, 4, 0, 560), y = scale(-3, 3, 0, 240);
  const rings = [2, 8, 20, 45, 80].map((level) => `<ellipse class="ring" cx="${x(0)}" cy="${y(0)}"
    rx="${Math.sqrt(2 * level) * 40}" ry="${Math.sqrt(2 * level / STEEP) * 40}"/>`).join("");
  return {
    width: 560,
    height: 240,
    handles: [
      { name: "lr", label: "learning rate", min: -2.5, max: -0.5, step: 0.02, value: -1.3,
        show: (power) => short(10 ** power) },
      { name: "mu", label: "momentum", min: 0, max: 0.98, step: 0.02, value: 0 },
    ],
    draw({ lr, mu }) {
      const path = walk(10 ** lr, mu);
      const share = height(path.at(-1)) / height(START);
      const limit = short(2 * (1 + mu) / STEEP);
      const end = share > 1
        ? `The path runs away: above ${limit} every step across the ravine overshoots further.`
        : `After ${path.length - 1} steps the height is ${short(100 * share)} % of what it was.`;
      const dots = path.map((p) => `<circle class="dot" cx="${x(p[0]).toFixed(1)}" cy="${y(p[1]).toFixed(1)}" r="2"/>`);
      return {
        picture: rings + line(path.map((p) => [x(p[0]), y(p[1])]), "path") + dots.join("")
          + `<circle class="goal" cx="${x(0)}" cy="${y(0)}" r="5"/>`,
        says: `A ravine twenty times as steep across as along, rate ${short(10 ** lr)}, momentum ${short(mu)}. ${end}`,
      };
    },
  };
};
})();
