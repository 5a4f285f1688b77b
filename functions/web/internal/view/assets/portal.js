// What a page does beyond links and forms. Every page works without it.
"use strict";

// Keys: "/" goes to the search, arrows go through a list, "?" tells them. They can be switched off, for people whose voice input types.
(() => {
  const off = "pinreset.keys.off";
  const typing = (e) => e.target.closest("input, textarea, select, [contenteditable]");
  const stops = () => [...document.querySelectorAll("main [data-stop]")].filter((e) => e.offsetParent !== null);

  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || localStorage.getItem(off)) return;
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      const list = stops();
      const at = list.indexOf(document.activeElement);
      if (typing(e) && e.target.type !== "search") return;
      const next = list[at + (e.key === "ArrowDown" ? 1 : -1)];
      if (next) { e.preventDefault(); next.focus(); }
      return;
    }
    if (typing(e)) return;
    if (e.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { e.preventDefault(); search.focus(); search.select(); }
    } else if (e.key === "r") {
      const reset = document.querySelector("[data-reset]");
      if (reset) { e.preventDefault(); reset.focus(); }
    } else if (e.key === "?") {
      const help = document.getElementById("keys");
      if (help) { e.preventDefault(); help.open = !help.open; help.querySelector("summary").focus(); }
    }
  });

  document.addEventListener("change", (e) => {
    if (e.target.id !== "keys-off") return;
    if (e.target.checked) localStorage.setItem(off, "yes"); else localStorage.removeItem(off);
  });
  const box = document.getElementById("keys-off");
  if (box) box.checked = Boolean(localStorage.getItem(off));
})();

// Copy: a button with data-copy="ID" copies the text of that element, and says so.
document.addEventListener("click", async (e) => {
  const button = e.target.closest("button[data-copy]");
  if (!button) return;
  const said = document.getElementById("said");
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    said.textContent = "Copied";
  } catch {
    said.textContent = "The browser did not let it be copied: mark the text and copy it yourself.";
  }
});
