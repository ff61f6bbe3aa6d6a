// Cards that say where a link leads: to a claim, a word of the glossary, or a work. A pointer that
// rests on such a link opens its card, as does the keyboard that reaches it; with a finger the
// first tap opens it and the second follows the link. The card stays while pointer or focus is on
// the link or on the card itself; Escape closes it. Without this script the plain links remain.
(() => {
  const LINKS = ".bd-article :is(a[href*='#claim-'], a[href*='#term-'], a[href*='bibliography'][href*='#'])"
    + ":not(.headerlink, .claim-address)";
  const OPENS_AFTER = 250, CLOSES_AFTER = 300, GAP = 6, EDGE = 8, HEADER = 56;
  const source = new URL("card-texts.js", document.currentScript.src);

  const card = document.createElement("div");
  card.id = "link-card";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  document.body.append(card);

  let open = null;       // the link whose card is shown
  let by = "";           // what opened it: pointer, keyboard or touch
  let wanted = null;     // the link whose card will be shown
  let dismissed = null;  // the link under the pointer whose card Escape has closed
  let touched = false;   // whether the last press was a finger's
  let timer = 0;
  let texts;             // of all cards, once the first is asked for

  function load() {
    return texts ??= new Promise((done) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = () => done(window.cardTexts);
      script.onerror = () => done({});
      document.head.append(script);
    });
  }

  // The link around a node that may have a card. The ledger says in its row all that a card would.
  function linkAt(node) {
    const link = node instanceof Element ? node.closest(LINKS) : null;
    return link?.hash.startsWith("#claim-") && link.closest("table")?.querySelector(".row-interval")
      ? null : link;
  }

  function key({ pathname, hash }) {
    const place = decodeURIComponent(hash);
    const page = pathname.split("/").pop().replace(/\.html$/, "");
    return place.startsWith("#claim-") ? place : page + place;
  }

  function show(link, how, x) {
    wanted = link;
    return load().then((known) => {
      const found = known[key(link)];
      const text = known[found] ?? found;  // a card, or the name of the one that says it
      if (wanted !== link || !text) return false;
      close();
      open = link;
      by = how;
      card.innerHTML = text + (how === "touch" ? "<p class='card-more'>Tap again to go there.</p>" : "");
      const says = card.querySelector(".card-says");
      if (says && words(says) === words(link)) says.remove();
      link.removeAttribute("title");  // the browser would show a second card
      link.setAttribute("aria-describedby", card.id);
      card.hidden = false;
      place(link, x);
      return true;
    });
  }

  const words = (node) => node.textContent.replace(/[\u2018\u2019]/g, "'").replace(/[\u201c\u201d]/g, '"').trim();

  // Below the line of the link that the pointer is on, or above it where there is no room below.
  function place(link, x) {
    const lines = [...link.getClientRects()];
    const at = lines.find((line) => x >= line.left && x <= line.right) ?? lines[0];
    const [left, top] = [window.scrollX, window.scrollY];
    const width = document.documentElement.clientWidth;
    const above = at.top - GAP - card.offsetHeight;
    const below = Math.max(...lines.map((line) => line.bottom)) + GAP;
    const fits = below + card.offsetHeight <= window.innerHeight || above < HEADER;
    const side = Math.min(at.left, width - card.offsetWidth - EDGE);
    card.style.left = `${left + Math.max(EDGE, side)}px`;
    card.style.top = `${top + (fits ? below : above)}px`;
  }

  function close() {
    clearTimeout(timer);
    open?.removeAttribute("aria-describedby");
    card.hidden = true;
    open = null;
  }

  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    const link = linkAt(event.target);
    if (link !== dismissed) dismissed = null;
    if (card.contains(event.target) || (link && link === open)) return clearTimeout(timer);
    clearTimeout(timer);
    if (link && !dismissed) {
      load();
      timer = setTimeout(show, OPENS_AFTER, link, "pointer", event.clientX);
    } else {
      wanted = null;
      if (open && by === "pointer") timer = setTimeout(close, CLOSES_AFTER);
    }
  });
  document.documentElement.addEventListener("pointerleave", () => {
    clearTimeout(timer);
    if (by === "pointer") close();
  });
  document.addEventListener("focusin", ({ target }) => {
    const link = linkAt(target);
    if (link?.matches(":focus-visible")) show(link, "keyboard");
  });
  document.addEventListener("focusout", () => {
    wanted = null;
    if (by !== "touch") close();
  });
  document.addEventListener("keydown", ({ key: pressed }) => {
    if (pressed !== "Escape") return;
    dismissed = open ?? wanted;
    wanted = null;
    close();
  });
  document.addEventListener("pointerdown", (event) => {
    touched = event.pointerType === "touch";
    if (!card.contains(event.target) && linkAt(event.target) !== open) close();
  });
  document.addEventListener("click", (event) => {
    const link = linkAt(event.target);
    const again = link === open;
    // The keyboard's click has no detail, and a key held down asks for a new tab.
    const first = link && touched && !again && event.detail > 0 && !event.ctrlKey && !event.metaKey;
    if (!first) return link && close();
    event.preventDefault();
    show(link, "touch", event.clientX).then((shown) => {
      if (!shown && wanted === link) window.location.assign(link.href);
    });
  });
  window.addEventListener("resize", close);
  window.addEventListener("pagehide", close);
})();
