// Drives the portal in a browser and prints what it found, one JSON object a line: {"check", "ok", "detail"}.
// Its argument is JSON: {dir, executable, link, url, tenant, device, other, pictures, readme}; with readme, a folder, it makes the README's
// small pictures there, too.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const given = JSON.parse(process.argv[2]);
const require = createRequire(join(given.dir, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const say = (check, ok, detail = "") => console.log(JSON.stringify({ check, ok: Boolean(ok), detail: String(detail) }));

const browser = await chromium.launch({
  executablePath: given.executable,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// A page tells of everything that its policy refused or that went wrong in its scripts.
const troubles = [];
const watch = (page) => {
  page.on("console", (m) => { if (["error", "warning"].includes(m.type()) && !/status of 4\d\d/.test(m.text())) troubles.push(`${page.url()}: ${m.text()}`); });
  page.on("pageerror", (e) => troubles.push(`${page.url()}: ${e}`));
  page.on("request", (r) => { if (!r.url().startsWith(given.url)) troubles.push(`${page.url()} asked ${r.url()}`); });
  return page;
};

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = watch(await context.newPage());
  let keys = 0;
  const press = async (key) => { keys++; await page.keyboard.press(key); };
  const to = (path) => page.goto(given.url + path);
  const at = (part) => page.waitForURL((u) => u.pathname.includes(part));

  // From the sign-in to a readable code with the keyboard alone.
  await page.goto(given.link);
  await page.keyboard.press("Tab");
  for (let i = 0; i < 8 && !(await page.evaluate(() => document.activeElement.matches("main button"))); i++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForURL(given.url + "/");
  const before = await context.cookies();
  await page.keyboard.press("/");
  await page.keyboard.type(given.device);
  await page.keyboard.press("Enter");
  await at("/devices");
  keys = 0; // counted from here on: the search is over
  await press("ArrowDown");
  await press("Enter");
  await at("/devices/");
  await press("r");
  await page.keyboard.type("forgot it");
  await press("Enter");
  await at("/resets/");
  const reset = new URL(page.url()).pathname;
  await page.waitForSelector("form[action$='/reveal']", { timeout: 30000 });
  await press("r");
  await press("Enter");
  await page.waitForSelector(".passcode");
  const code = (await page.textContent(".passcode")).replace(/\s/g, "");
  say("story with the keyboard alone", code.length >= 4, `${keys} keystrokes after the search`);
  say("at most 6 keystrokes after the search", keys <= 6, keys);
  say("the code is in no address and no title", !decodeURIComponent(page.url()).includes(code) && !(await page.title()).includes(code));
  const accessible = async (name) => {
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    if (found.violations.length) say(`axe ${name}`, false, found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).slice(0, 3).join(" ")}`).join("; "));
  };
  for (const scheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await accessible("code " + scheme);
  }
  await page.screenshot({ path: (mkdirSync(given.pictures, { recursive: true }), join(given.pictures, "code-1280.png")), fullPage: true });
  const small = async (name) => {
    if (!given.readme) return;
    await page.setViewportSize({ width: 900, height: 560 });
    await page.screenshot({ path: join(given.readme, name + ".png") });
    await page.setViewportSize({ width: 1280, height: 900 });
  };
  await small("code");
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.click("#copy");
  await page.waitForFunction(() => document.getElementById("said").textContent === "Copied");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  say("what is copied is the code without its gaps", copied === code);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("Space");
  await page.keyboard.press("Space");
  const marked = await page.evaluate(() => [...document.querySelectorAll("#shown [data-step]")].map((e) => e.getAttribute("aria-current") === "true"));
  const steps = await page.evaluate(() => document.querySelectorAll("#code [data-step]").length);
  say("Space keeps the place in the code and in its words", steps > 0 && marked.every((m, i) => m === (i % steps === 1 % steps)), marked);

  // The code goes away by itself, says so before, and stays when it is asked to.
  const timed = watch(await context.newPage());
  await timed.clock.install();
  await timed.goto(given.url + reset);
  await timed.click("form[action$='/reveal'] button");
  await timed.waitForSelector("#keep:not([hidden])");
  const has = async () => (await timed.evaluate(() => document.documentElement.textContent.replace(/\s/g, ""))).includes(code);
  await timed.clock.fastForward(41000);
  const warned = await timed.textContent("#said");
  await timed.click("#keep");
  await timed.clock.fastForward(55000);
  const kept1 = await has();
  await timed.clock.fastForward(6000);
  const kept2 = await has();
  say("the code is announced to go, stays when asked to, and leaves the page", warned.includes("20 seconds") && kept1 && !kept2, `${warned} ${kept1} ${kept2}`);
  await timed.close();
  await to("/");
  await page.evaluate(() => history.back());
  await page.waitForFunction(() => document.readyState === "complete" && !document.querySelector("table caption")?.textContent.startsWith("Tenants")).catch(() => {});
  const shown = await page.evaluate(() => document.documentElement.outerHTML);
  say("going back shows no code", !shown.includes(code) && !shown.includes('class="passcode"'), page.url());
  await to("/");
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, history.state]));
  say("the browser keeps no code", !kept.includes(code), kept);

  // While a search is typed, what is known here is suggested; arrows reach it.
  await to("/");
  await page.keyboard.press("/");
  await Promise.all([page.waitForResponse((r) => r.url().includes("/suggest")), page.keyboard.type(given.device.slice(0, 1))]);
  const early = await page.locator("#suggested a").count();
  await page.keyboard.type(given.device.slice(1, 7));
  await page.waitForSelector("#suggested a[href*='/devices/']");
  await accessible("suggestions");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await at("/devices/");
  say("suggestions come from the second character on and are reached by an arrow", early === 0 && (await page.textContent("h1")).includes(given.device), `${early} ${page.url()}`);

  // What a device page leads to is put into it when it is asked for.
  await page.click("details[hx-get] summary");
  await page.waitForSelector("#loaded details");
  await accessible("device with its ways");
  say("the ways to a new PIN are put into the device's page", (await page.locator("#loaded details").count()) > 1, page.url());

  // A failure is copied as text for support.
  await to("/tenants/" + given.tenant + "/failures");
  await page.click("main a[href*='/diag/']");
  await page.click("button[data-copy=support]");
  await page.waitForFunction(() => document.getElementById("said").textContent === "Copied");
  const report = await page.evaluate(() => navigator.clipboard.readText());
  say("a failure is copied for support", report.includes("Diagnostics id:") && report.includes("Timeline"), report.split("\n")[0]);

  // The audit log is taken away as a file.
  await to("/tenants/" + given.tenant + "/audit?action=passcode.revealed");
  await page.fill("#reason", "a look");
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("button[value=csv]")]);
  const rows = readFileSync(await file.path(), "utf8").trim().split("\n");
  say("the audit log is taken away", rows.length > 1 && rows[1].includes("passcode.revealed"), `${file.suggestedFilename()} ${rows.length}`);

  // Every page: accessible in light, dark and forced colours, no wider than the screen, and a picture of it.
  const base = "/tenants/" + given.tenant;
  await to(base + "/failures");
  const first = async (part) => page.evaluate((p) => document.querySelector(`main a[href*="${p}"]`)?.getAttribute("href"), part);
  const diagnosis = await first("/diag/");
  await to(base + "/audits");
  const audit = await first("/audits/");
  await to(base + "/rollouts");
  const rollout = await first("/rollouts/");
  await to(base + "/devices");
  const device = await first("/devices/");
  const pages = {
    home: "/", tenant: base + "?live=off", readiness: base + "/readiness", devices: base + "/devices", device, "device-readiness": device + "/readiness",
    resets: base + "/resets", reset, cancel: reset + "/cancel", rollouts: base + "/rollouts", rollout, audits: base + "/audits", audit,
    settings: base + "/settings", notifications: base + "/notifications", people: base + "/people", "who-did-what-searched": base + "/audit?action=passcode.&day=" + new Date().toISOString().slice(0, 10),
    failures: base + "/failures", diagnosis, "dead-letters": base + "/deadletters", "who-did-what": base + "/audit", problem: "/problems/consent_missing", missing: "/nothing",
  };
  let checked = 2; // the code, above
  for (const [name, path] of Object.entries(pages)) {
    if (!path) { say("page " + name, false, "there is none to look at"); continue; }
    for (const scheme of ["light", "dark", "forced"]) {
      await page.emulateMedia(scheme === "forced" ? { colorScheme: "dark", forcedColors: "active" } : { colorScheme: scheme, forcedColors: "none" });
      await page.setViewportSize({ width: 1280, height: 900 });
      await to(path);
      await accessible(`${name} ${scheme}`);
      checked++;
      if (scheme === "forced") await page.screenshot({ path: join(given.pictures, `${name}-forced.png`), fullPage: true });
      if (scheme !== "light") continue;
      for (const width of [1280, 320]) {
        await page.setViewportSize({ width, height: 800 });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        if (wide > width) say(`page ${name} at ${width} px`, false, `${wide} px wide`);
        await page.screenshot({ path: join(given.pictures, `${name}-${width}.png`), fullPage: true });
      }
    }
  }
  await page.emulateMedia({ colorScheme: "light", forcedColors: "none" });
  for (const [name, path] of Object.entries({ tenants: "/", readiness: base + "/readiness", failure: diagnosis })) {
    await to(path);
    await small(name);
  }
  say("axe finds nothing", true, `${checked} pages`);

  // Nobody frames it.
  const stranger = await browser.newContext();
  const frame = await stranger.newPage();
  await frame.setContent(`<iframe src="${given.url}/sign-in"></iframe>`);
  await frame.waitForTimeout(0);
  await frame.waitForFunction(() => document.querySelector("iframe")).catch(() => {});
  const inner = frame.frames()[1];
  await inner.waitForLoadState().catch(() => {});
  say("framing is refused", !(await inner.content()).includes("pinreset</a>"), inner.url());

  // A form from another place is refused.
  const forged = await page.request.post(given.url + base + "/settings", { form: { passcodeHours: "1", resetDeadlineHours: "1" }, headers: { Origin: "https://elsewhere.example", "Sec-Fetch-Site": "cross-site" } });
  say("a form from another site is refused", forged.status() === 403, forged.status());

  // Without scripts the same works.
  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
  const bare = await plain.newPage();
  await bare.goto(given.url + "/");
  await bare.fill("input[type=search]", given.other);
  await bare.click("form[role=search] button");
  await bare.click("main h3 a");
  await bare.fill("input[name=reason]", "no scripts here");
  await bare.click("form[action$='/reset'] button");
  await bare.waitForSelector("form[action$='/reveal'] button", { timeout: 30000 });
  await bare.click("form[action$='/reveal'] button");
  say("without scripts to a code", (await bare.textContent(".passcode")).trim().length >= 4);

  // What a thief has of a session that was signed out is worth nothing; and signing in makes a new one.
  await to("/");
  await page.click("header form button");
  await page.waitForURL("**/sign-in");
  const thief = await browser.newContext();
  await thief.addCookies(before);
  const theirs = await thief.newPage();
  await theirs.goto(given.url + base);
  say("a session that was signed out opens nothing", theirs.url().includes("/sign-in"), theirs.url());
  say("nothing was refused by the policy, failed in a script or went elsewhere", troubles.length === 0, troubles.join("\n"));
} catch (e) {
  say("the run", false, e.stack);
} finally {
  await browser.close();
}
