// The page of a code: copies it, steps through its groups, and takes it off the page after a while. Without it the page says that it does
// not hide the code by itself.
"use strict";

(() => {
  const shown = document.getElementById("shown");
  const said = document.getElementById("said");
  const hide = document.getElementById("hide");
  const [after, before] = [shown.dataset.hideAfter, shown.dataset.warnBefore].map((s) => 1000 * s);
  const hides = document.getElementById("hides");
  const copy = document.getElementById("copy");
  const keep = document.getElementById("keep");
  let timers = [];

  // What is hidden is not on the page any more: to show it again is another view, which is asked for and recorded.
  const gone = (why) => {
    timers.forEach(clearTimeout);
    if (!shown.isConnected) return;
    const again = document.createElement("a");
    again.className = "button";
    again.href = hide.href;
    again.textContent = "Show it again…";
    const text = document.createElement("p");
    text.textContent = why;
    shown.replaceWith(text, again);
    said.textContent = why;
    again.focus();
  };

  const start = () => {
    timers.forEach(clearTimeout);
    hides.textContent = `The code is hidden after ${after / 1000} seconds.`;
    timers = [
      setTimeout(() => {
        const text = `The code is hidden in ${before / 1000} seconds. To go on reading, choose "Keep showing".`;
        hides.textContent = said.textContent = text;
      }, after - before),
      setTimeout(() => gone("The code was hidden."), after),
    ];
  };

  copy.addEventListener("click", async () => {
    // Spaces between groups are for the eye.
    const text = [...document.querySelectorAll("#code .group > span")].map((c) => c.textContent).join("");
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "Copied";
    } catch {
      said.textContent = "The browser did not let it be copied: mark the text and copy it yourself.";
    }
  });
  keep.addEventListener("click", () => {
    start();
    said.textContent = `The code is shown for ${after / 1000} seconds more.`;
  });
  hide.addEventListener("click", (e) => { e.preventDefault(); gone("The code was hidden."); });

  // A page that is left is not kept with the code on it, whatever the browser remembers of it.
  addEventListener("pagehide", () => gone("The code was hidden."));

  // Space goes from group to group, in the code and in its words alike, so that both sides of a call keep their place.
  let at = -1;
  document.addEventListener("keydown", (e) => {
    if (e.key !== " " || e.ctrlKey || e.metaKey || e.altKey || e.target.closest("a, button, input, summary, select, textarea") || !shown.isConnected) return;
    e.preventDefault();
    const lists = [document.getElementById("code"), ...shown.querySelectorAll(".spelled")].map((l) => [...l.querySelectorAll("[data-step]")]);
    at = (at + 1) % lists[0].length;
    for (const list of lists) {
      list.forEach((group, i) => (i === at ? group.setAttribute("aria-current", "true") : group.removeAttribute("aria-current")));
    }
  });

  for (const e of [copy, keep, document.getElementById("steps")]) e.hidden = false;
  start();
})();
