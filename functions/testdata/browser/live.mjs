// Looks at resets in a browser while they are carried out, and prints what it found, one JSON object a line: {"check", "ok", "detail"}.
// {"ask": "kill"} and {"ask": "start"} are about the server; each is answered with a line on standard input.
// Its argument is JSON: {dir, executable, link, url, tenant, devices}, with two devices.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { join } from "node:path";

const given = JSON.parse(process.argv[2]);
const require = createRequire(join(given.dir, "package.json"));
const { chromium } = require("playwright-core");

const tell = (said) => console.log(JSON.stringify(said));
const say = (check, ok, detail = "") => tell({ check, ok: Boolean(ok), detail: String(detail) });
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (what) => { tell({ ask: what }); await answers.next(); };

const browser = await chromium.launch({
  executablePath: given.executable,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

try {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(given.link);
  await page.click("main button");
  await page.waitForURL(given.url + "/");

  // From here on a page notes what it is told and what it announces, and it never looks again because some seconds have passed: what changes
  // on it, changes because of an event.
  await page.addInitScript(() => {
    window.noted = { events: [], opened: 0, broken: 0, said: [], began: performance.timeOrigin };
    const later = window.setTimeout;
    window.setTimeout = (f, ms, ...more) => (ms >= 4000 ? 0 : later(f, ms, ...more));
    window.EventSource = class extends EventSource {
      constructor(...given) {
        super(...given);
        this.addEventListener("open", () => window.noted.opened++);
        this.addEventListener("error", () => window.noted.broken++);
        for (const name of ["all", "changes"]) this.addEventListener(name, (e) => window.noted.events.push({ name, changes: JSON.parse(e.data) }));
      }
    };
    document.addEventListener("DOMContentLoaded", () => {
      const said = document.getElementById("said");
      if (said) new MutationObserver(() => window.noted.said.push(said.textContent)).observe(said, { childList: true });
    });
  });
  const start = async (device) => {
    await page.goto(`${given.url}/tenants/${given.tenant}/devices?search=${device}`);
    await page.click("main h3 a");
    await page.fill("input[name=reason]", "somebody looks on");
    await page.click("form[action$='/reset'] button");
    await page.waitForURL((u) => u.pathname.includes("/resets/"));
    await page.waitForFunction(() => window.noted.opened > 0);
    return new URL(page.url()).pathname.split("/").pop();
  };
  const ended = () => page.waitForSelector("form[action$='/reveal']", { timeout: 60000 });
  const states = (noted, id) => noted.events.flatMap((e) => e.changes).filter((c) => c.id === id).map((c) => c.state);
  const milestone = () => page.evaluate(() => document.querySelector("[data-milestone]").textContent.replace(/\s+/g, " ").trim());

  const first = await start(given.devices[0]);
  const before = await page.evaluate(() => window.noted.began);
  await ended();
  let noted = await page.evaluate(() => window.noted);
  say("a reset's page reaches its end by events", states(noted, first).includes("issued") && noted.began === before, JSON.stringify(noted.events));
  say("the status region announces how it ended", noted.said.at(-1)?.startsWith("Code ready") && noted.said.at(-1) === (await milestone()), JSON.stringify(noted.said));

  const second = await start(given.devices[1]);
  await ask("kill");
  await page.waitForFunction(() => window.noted.broken > 0, null, { timeout: 30000 });
  say("while the server is away the page stays", !(await milestone()).startsWith("Code ready"), await milestone());
  await ask("start");
  await page.waitForFunction(() => window.noted.opened > 1, null, { timeout: 60000 });
  await ended();
  noted = await page.evaluate(() => window.noted);
  say("after the server's return the page reaches its end by events", states(noted, second).includes("issued") && noted.opened > 1, JSON.stringify(noted));
  say("and announces it", noted.said.at(-1)?.startsWith("Code ready"), JSON.stringify(noted.said));
} catch (e) {
  say("the run", false, e.stack);
} finally {
  await browser.close();
  process.stdin.destroy();
}
