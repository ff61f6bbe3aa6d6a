// Small mends of the theme: names and roles for screen readers, and paper that is white.
document.addEventListener("DOMContentLoaded", () => {
  for (const summary of document.querySelectorAll("summary")) {
    if (summary.textContent.trim() || summary.hasAttribute("aria-label")) continue;
    const link = summary.closest("li")?.querySelector("a");
    summary.setAttribute("aria-label", `Pages of ${link?.textContent.trim() || "this part"}`);
  }
  // The title above the contents belongs to a landmark, and an entry of a list is a list item.
  const sidebar = document.querySelector(".bd-sidebar-primary");
  sidebar?.setAttribute("role", "navigation");
  sidebar?.setAttribute("aria-label", "Book");
  for (const entry of document.querySelectorAll('.citation-list > [role="doc-biblioentry"]')) {
    entry.setAttribute("role", "listitem");
  }
});

// On paper a page is light, and all that is folded lies open; afterwards it is as it was.
let afterwards = [];
window.addEventListener("beforeprint", () => {
  const { dataset } = document.documentElement;
  const { theme, mode } = dataset;
  Object.assign(dataset, { theme: "light", mode: "light" });
  const folded = [...document.querySelectorAll("article details:not([open], .toggle-details)")];
  for (const fold of folded) fold.open = true;
  afterwards.push(() => {
    Object.assign(dataset, { theme, mode });
    for (const fold of folded) fold.open = false;
  });
});
window.addEventListener("afterprint", () => {
  for (const restore of afterwards.reverse()) restore();
  afterwards = [];
});

// The theme lets the keyboard reach every box that scrolls. It reads a size and writes a mark in turn,
// for which the browser lays out the whole page each time. Ours are read together, a few at a time,
// and those that are not laid out yet when they are; until then they may scroll, and are a stop.
{
const marked = (boxes) => {
  const read = boxes.map((box) =>
    [box, box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight ? 0 : -1]);
  for (const [box, stop] of read) if (box.getAttribute("tabindex") !== `${stop}`) box.tabIndex = stop;
};
const later = new IntersectionObserver((seen) => {
  const near = seen.filter((one) => one.isIntersecting).map((one) => one.target);
  for (const box of near) later.unobserve(box);
  marked(near);
}, { rootMargin: "100%" });
window.markScrolling = (boxes) => {
  const left = [];
  for (const box of boxes)
    if (box.checkVisibility?.({ contentVisibilityAuto: true }) ?? true) left.push(box);
    else {
      box.tabIndex = 0;
      later.observe(box);
    }
  const some = () => {
    marked(left.splice(0, 20));
    if (left.length) setTimeout(some);
  };
  some();
};
}
