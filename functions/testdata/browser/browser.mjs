// Drives the portal in a browser and prints what it found, one JSON object a line: {"check", "ok", "detail"}.
// Its argument is JSON: {dir, executable, link, url, tenant, device, other, routes, pictures, readme}. routes are the patterns of all pages, each
// of which has to be looked at; with readme, a folder, it makes the README's small pictures there, too.
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
  page.on("dialog", (d) => { troubles.push(`${page.url()}: a script said ${d.message()}`); d.dismiss(); });
  page.on("pageerror", (e) => troubles.push(`${page.url()}: ${e}`));
  page.on("request", (r) => { if (!r.url().startsWith(given.url)) troubles.push(`${page.url()} asked ${r.url()}`); });
  return page;
};

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = watch(await context.newPage());
  const story = page;
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
  const seen = new Set(); // paths of the pages that were looked at
  let checked = 0;
  const accessible = async (name, page = story) => {
    checked++;
    seen.add(new URL(page.url()).pathname);
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    if (found.violations.length) say(`axe ${name}`, false, found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).slice(0, 3).join(" ")}`).join("; "));
  };
  // A page as it is now: accessible in light, dark and forced colours, no wider than the screen, no word a letter a line, and a picture of it.
  mkdirSync(given.pictures, { recursive: true });
  const narrow = () => [...document.querySelectorAll("main :is(th, td, dd, dt, li, p, h1, h2, h3, label, summary)")]
    .filter((e) => e.offsetParent && !e.closest("thead") && e.textContent.trim().length > 12 && e.clientWidth < 96 && e.clientHeight > 5 * parseFloat(getComputedStyle(e).lineHeight))
    .concat(innerWidth < 500 ? [...document.querySelectorAll("main thead")].filter((e) => e.getBoundingClientRect().width > 1) : [])
    .map((e) => `${e.tagName} ${e.textContent.trim().slice(0, 20)}`);
  const look = async (name, page = story) => {
    for (const scheme of ["light", "dark", "forced"]) {
      await page.emulateMedia(scheme === "forced" ? { colorScheme: "dark", forcedColors: "active" } : { colorScheme: scheme, forcedColors: "none" });
      await page.setViewportSize({ width: 1280, height: 900 });
      await accessible(`${name} ${scheme}`, page);
      if (scheme === "forced") await page.screenshot({ path: join(given.pictures, `${name}-forced.png`), fullPage: true });
      if (scheme !== "light") continue;
      for (const width of [320, 1280]) {
        await page.setViewportSize({ width, height: 800 });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        const squeezed = await page.evaluate(narrow);
        if (wide > width || squeezed.length) say(`page ${name} at ${width} px`, false, `${wide} px wide; squeezed: ${squeezed.slice(0, 5).join(", ")}`);
        await page.screenshot({ path: join(given.pictures, `${name}-${width}.png`), fullPage: true });
      }
    }
    await page.emulateMedia({ colorScheme: "light", forcedColors: "none" });
    await page.setViewportSize({ width: 1280, height: 900 });
  };
  await look("code");
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
  const hurried = await browser.newContext({ storageState: await context.storageState() });
  const timed = watch(await hurried.newPage());
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
  await hurried.close();
  await to("/");
  await page.evaluate(() => history.back());
  await page.waitForFunction(() => document.readyState === "complete" && !document.querySelector("table caption")?.textContent.startsWith("Tenants")).catch(() => {});
  let shown;
  for (let tries = 0; shown === undefined; tries++) { // a navigation that is still going on takes the page from under the look
    shown = await page.evaluate(() => document.documentElement.outerHTML).catch((e) => { if (tries === 9) throw e; });
    if (shown === undefined) await page.waitForLoadState().catch(() => {});
  }
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

  // A session that nobody uses is about to end: it is said, a key goes on, and in the end the page goes away.
  const away = await browser.newContext({ storageState: await context.storageState() }); // a clock is its whole context's
  const idle = watch(await away.newPage());
  await idle.clock.install();
  const base = "/tenants/" + given.tenant;
  await idle.goto(given.url + base + "/settings");
  const noted = () => idle.locator("#idle").isVisible();
  const atFirst = await noted();
  await idle.clock.runFor(13 * 60000 + 6000);
  const warnedOf = await noted();
  await accessible("about to be signed out", idle);
  await Promise.all([idle.waitForResponse((r) => r.url().endsWith("/suggest")), idle.keyboard.press("Shift")]);
  const stillThere = await noted();
  await Promise.all([idle.waitForEvent("framenavigated"), idle.clock.runFor(15 * 60000 + 6000)]);
  say("being signed out is announced, a key goes on, and an unattended page goes away", !atFirst && warnedOf && !stillThere, `${atFirst} ${warnedOf} ${stillThere} ${idle.url()}`);
  await away.close();

  // Every page.
  await to(base + "/failures");
  const first = async (part) => page.evaluate((p) => document.querySelector(`main a[href*="${p}"]`)?.getAttribute("href"), part);
  const diagnosis = await first("/diag/");
  await to(base + "/bulk-resets");
  const bulk = await first("/bulk-resets/");
  await to(base + "/deadletters");
  const letter = await first("/deadletters/");
  await to(base + "/audits");
  const audit = await first("/audits/");
  await to(base + "/rollouts");
  const rollout = await first("/rollouts/");
  await to(base + "?live=off");
  const approval = await first("/approvals/");
  await to(base + "/devices");
  const device = await first("/devices/");
  const pages = {
    home: "/", tenant: base + "?live=off", readiness: base + "/readiness", devices: base + "/devices", device, "device-readiness": device + "/readiness",
    resets: base + "/resets", "bulk-resets": base + "/bulk-resets", "bulk-reset": bulk, reset, approval, caller: "/me/confirm", cancel: reset + "/cancel", rollouts: base + "/rollouts", rollout, audits: base + "/audits", audit,
    settings: base + "/settings", notifications: base + "/notifications", people: base + "/people", "who-did-what-searched": base + "/audit?action=passcode.&day=" + new Date().toISOString().slice(0, 10),
    failures: base + "/failures", diagnosis, "dead-letters": base + "/deadletters", "dead-letter": letter, "who-did-what": base + "/audit",
    "sign-in": "/sign-in", "sign-in-link": "/sign-in?code=x", problem: "/problems/consent_missing", missing: "/nothing",
  };
  for (const [name, path] of Object.entries(pages)) {
    if (!path) { say("page " + name, false, "there is none to look at"); continue; }
    await to(path);
    await look(name);
  }
  // Pages that answer a form.
  await to(base + "/rollouts");
  await page.check("input[value=devices]");
  await page.click("text=Show the plan");
  await page.waitForSelector("text=The calls, in order");
  await look("plan");
  await to(base + "/settings");
  await page.evaluate(() => { document.querySelector("main form").noValidate = true; });
  await page.fill("#passcodeHours", "500");
  await page.click("main form button");
  await page.waitForSelector("[role=alert]");
  await look("settings-refused");
  for (const [name, path] of Object.entries({ tenants: "/", readiness: base + "/readiness", failure: diagnosis })) {
    await to(path);
    await small(name);
  }

  // People sign in with Microsoft, which the simulated cloud stands for: somebody with a role, and somebody without one.
  const person = await browser.newContext();
  await person.addCookies([{ name: "pinreset", value: "made-up-by-a-thief", url: given.url }]);
  const theirPage = await person.newPage();
  await theirPage.goto(given.url + base + "/devices");
  await theirPage.click("text=Sign in with Microsoft");
  await theirPage.click("li:has-text('adele@') button");
  await theirPage.waitForURL((u) => u.pathname === base + "/devices");
  const hers = (await person.cookies()).find((c) => c.name === "pinreset").value;
  say("a person signs in with Microsoft, is back at the page, and has a session of her own", hers !== "made-up-by-a-thief" && hers.length >= 43, theirPage.url());
  await theirPage.click("header form button");
  await theirPage.waitForURL("**/sign-in");
  await theirPage.click("text=Sign in with Microsoft");
  await theirPage.click("li:not(:has-text('·')) button");
  await theirPage.waitForURL((u) => u.pathname === "/sign-in/return");
  await look("no-access", theirPage);
  say("somebody without a role gets in nowhere", (await theirPage.textContent("h1")) === "You have no access", await theirPage.textContent("h1"));
  await person.close();

  // No page is left out. What answers without a page is listed.
  const pageless = ["/assets/", "/find", "/suggest", "/sign-in/microsoft", "/tenants/{tenant}/events"];
  const shape = (pattern) => new RegExp("^" + pattern.replace("{$}", "").replace(/\{[^}]+\}/g, "[^/]+") + "$");
  const left = given.routes.filter((p) => !pageless.includes(p) && ![...seen].some((path) => shape(p).test(path)));
  say("axe looks at every page", left.length === 0 && given.routes.length > 20, left.length ? left.join(" ") : `${given.routes.length} routes, ${checked} times`);

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
  const plain = await browser.newContext({ javaScriptEnabled: false });
  const bare = await plain.newPage();
  await bare.goto(given.url + "/");
  await bare.click("text=Sign in with Microsoft");
  await bare.click("li:has-text('adele@') button");
  await bare.waitForURL(given.url + "/");
  await bare.fill("input[type=search]", given.other);
  await bare.click("form[role=search] button");
  await bare.click("main h3 a");
  await bare.fill("input[name=reason]", "no scripts here");
  await bare.click("form[action$='/reset'] button");
  await bare.waitForSelector("form[action$='/reveal'] button", { timeout: 30000 });
  await bare.click("form[action$='/reveal'] button");
  say("without scripts from the sign-in to a code", (await bare.textContent(".passcode")).trim().length >= 4);

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
