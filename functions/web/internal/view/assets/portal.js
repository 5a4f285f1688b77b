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
      const form = document.querySelector("form[data-reset]");
      const next = form && (form.querySelector("input:invalid") || form.querySelector("button"));
      if (next) { e.preventDefault(); next.focus(); }
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

for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;

// Idle: whoever works on a page without sending anything is not signed out under their hands. A page says two minutes before that it
// comes to that, and after it goes where its person signs in again, so that nothing stays on an unattended screen.
(() => {
  const { idle, self } = document.body.dataset;
  if (!idle) return;
  const note = document.getElementById("idle");
  const used = "pinreset.used"; // of all pages of this browser, as they share the session
  const [end, warn, tell] = [1000 * idle, 1000 * (idle - 120), 300000];
  const since = () => Date.now() - Number(localStorage.getItem(used));
  const use = async () => {
    if (since() < tell && note.hidden) return;
    localStorage.setItem(used, Date.now());
    note.hidden = true;
    const answer = await fetch("/suggest").catch(() => null); // an answer of nothing, to somebody who is signed in
    if (answer && (answer.redirected || answer.status === 401)) location.replace(self);
  };
  const look = () => {
    if (since() >= end) location.replace(self); else note.hidden = since() < warn;
  };
  localStorage.setItem(used, Date.now());
  for (const kind of ["keydown", "pointerdown"]) document.addEventListener(kind, use);
  document.addEventListener("visibilitychange", look);
  setInterval(look, 5000);
})();

// Live: while something is pending, a page brings itself up to date: when the server tells of a change, and every few seconds where it can't
// tell. What somebody is typing is not taken from under their hands.
(() => {
  let main = document.querySelector("main[data-live]");
  if (!main) return;
  const said = () => main.querySelector("[data-milestone]")?.textContent.replace(/\s+/g, " ").trim();
  const turn = async () => {
    const answer = await fetch(location.pathname + "?live=auto", { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return location.reload();
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const before = said();
    const fresh = document.importNode(next.querySelector("main"), true);
    const focused = document.activeElement;
    const href = main.contains(focused) && focused.getAttribute("href");
    main.replaceWith(fresh);
    main = fresh;
    if (href) [...main.querySelectorAll("a")].find((a) => a.getAttribute("href") === href)?.focus();
    document.title = next.title;
    if (said() && said() !== before) document.getElementById("said").textContent = said();
  };

  // One turn at a time; what is told during one is looked at in the next.
  let timer, turning = false, changed = false;
  const wait = (seconds) => { clearTimeout(timer); timer = setTimeout(go, 1000 * seconds); };
  const go = async () => {
    if (turning) { changed = true; return; }
    turning = true;
    changed = false;
    const began = performance.now();
    try {
      if (document.hidden || main.querySelector("form :focus")) changed = false; else await turn();
    } catch { /* the server is away: the next turn may find it again */ }
    turning = false;
    if (!main.dataset.live) { follow(false); clearTimeout(timer); return; }
    follow(!document.hidden);
    wait(changed ? Math.max(0.1, (performance.now() - began) / 1000) : every()); // under many changes half the time at the most is spent looking
  };

  // The stream. A page that nobody sees has none: a browser opens few connections to one server.
  let stream = null, opened = false, refused = false;
  const every = () => stream?.readyState === EventSource.OPEN && main.dataset.calm || main.dataset.live;
  const follow = (wanted) => {
    if (stream && (!wanted || stream.readyState === EventSource.CLOSED)) { stream.close(); stream = null; }
    if (!wanted || stream || refused || !main.dataset.events) return;
    stream = new EventSource(main.dataset.events);
    stream.onopen = () => { opened = true; };
    stream.onerror = () => {
      if (stream.readyState === EventSource.CLOSED && !opened) refused = true; // nothing can be streamed here
      wait(main.dataset.live);
    };
    stream.addEventListener("all", go);
    stream.addEventListener("changes", (e) => {
      const about = main.dataset.about;
      if (!about || JSON.parse(e.data).some((c) => c.id === about)) go();
    });
  };
  document.addEventListener("visibilitychange", () => {
    follow(!document.hidden);
    if (!document.hidden && main.dataset.live) go();
  });
  follow(!document.hidden);
  wait(main.dataset.live);
})();
