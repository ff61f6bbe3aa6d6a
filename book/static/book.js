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
