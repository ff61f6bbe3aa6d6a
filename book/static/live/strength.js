(() => {
const { random, short } = window.liveDraw;

window.liveFigures.strength = () => {
  return {
    width: 560,
    height: 170,
    handles: [
      { name: "turn", label: "turns up to, degrees", min: 0, max: 180, step: 5, value: 15 },
      { name: "shift", label: "shifts up to, % of the picture", min: 0, max: 60, step: 5, value: 10 },
      { name: "flip", label: "flips, % of pictures", min: 0, max: 50, step: 50, value: 0 },
    ],
    draw({ turn, shift, flip }) {
      const pictures = [..."6262"].map((digit, place) => {
        const { uniform } = random(11 + place);
        const between = (most) => most * (2 * uniform() - 1);
        const angle = between(turn), right = between(shift), down = between(shift), mirrored = uniform() < flip / 100;
        const x = 10 + 138 * place;
        return `<svg x="${x}" y="20" width="128" height="128" viewBox="-64 -64 128 128">
          <rect class="frame" x="-63" y="-63" width="126" height="126"/>
          <text class="digit" text-anchor="middle" y="34" transform="translate(${1.28 * right} ${1.28 * down})
            rotate(${angle}) scale(${mirrored ? -1 : 1} 1)">${digit}</text></svg>`;
      });
      const lies = [
        ...(turn > 90 ? ["a 6 can turn into a 9"] : []),
        ...(shift > 45 ? ["a digit can leave the picture"] : []),
        ...(flip ? ["a mirrored 2 is no digit"] : []),
      ];
      return {
        picture: pictures.join(""),
        says: `Turns up to ${short(turn)} degrees, shifts up to ${short(shift)} %. `
          + (lies.length ? `The label no longer survives: ${lies.join("; ")}.` : "Every picture still deserves its label."),
      };
    },
  };
};
})();
