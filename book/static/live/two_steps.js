(() => {
const { line, random, scale, short, text } = window.liveDraw;

window.liveFigures.two_steps = () => {
  const { normal } = random(3);
  const raw = Array.from({ length: 40 }, normal);
  const mean = raw.reduce((sum, v) => sum + v, 0) / raw.length;
  const spread = Math.sqrt(raw.reduce((sum, v) => sum + (v - mean) ** 2, 0) / raw.length);
  const plain = raw.map((v) => (v - mean) / spread);
  return {
    width: 560,
    height: 210,
    handles: [
      { name: "m", label: "mean of the raw values", min: -6, max: 6, step: 0.25, value: 4 },
      { name: "s", label: "their spread", min: 0.25, max: 4, step: 0.25, value: 2 },
      { name: "gamma", label: "scale γ", min: -2, max: 2, step: 0.1, value: 1 },
      { name: "beta", label: "shift β", min: -3, max: 3, step: 0.1, value: 0 },
    ],
    draw({ m, s, gamma, beta }) {
      const x = scale(-10, 10, 130, 550);
      const rows = [
        ["raw", plain.map((v) => m + s * v)],
        ["step one", plain],
        ["step two", plain.map((v) => gamma * v + beta)],
      ];
      const drawn = rows.map(([name, values], place) => {
        const y = 40 + 65 * place;
        return text(10, y + 4, name) + line([[130, y], [550, y]], "grid")
          + values.map((v) => `<circle class="dot" cx="${x(v).toFixed(1)}" cy="${y}" r="4"/>`).join("");
      });
      return {
        picture: line([[x(0), 15], [x(0), 195]], "zero") + drawn.join(""),
        says: `The raw values have mean ${short(m)} and spread ${short(s)}; after step one 0 and 1, whatever `
          + `they were; after step two ${short(beta)} and ${short(Math.abs(gamma))}.`
          + (gamma === s && beta === m ? " Step two has undone step one." : ""),
      };
    },
  };
};
})();
