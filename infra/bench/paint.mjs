// Asks for resets one after the other while a browser shows the tenant's list of them, and prints as JSON how many milliseconds after each
// request its reset was painted. Its standard input is JSON: {dir, executable, url, token, tenant, devices}; the first device's reset is there
// before the list is opened, and not measured.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const given = JSON.parse(readFileSync(0, "utf8"));
const { chromium } = createRequire(join(given.dir, "package.json"))("playwright-core");
const browser = await chromium.launch({
  executablePath: given.executable,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

const reset = async (device) => {
  const answer = await fetch(`${given.url}/v1/tenants/${given.tenant}/devices/${device}/resets`, {
    method: "POST",
    headers: { Authorization: "Bearer " + given.token, "Content-Type": "application/json", "Idempotency-Key": "paint-" + device },
    body: JSON.stringify({ reason: "somebody looks on" }),
  });
  if (answer.status !== 202) throw new Error(`reset answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()).id;
};

try {
  const page = await browser.newPage();
  await page.goto(given.url + "/sign-in");
  await page.fill("input[name=token]", given.token);
  await page.press("input[name=token]", "Enter");
  await page.waitForURL(given.url + "/");
  await page.addInitScript(() => {
    window.painted = {};
    window.opened = 0;
    window.EventSource = class extends EventSource {
      constructor(...given) {
        super(...given);
        this.addEventListener("all", () => window.opened++);
      }
    };
    const look = () => {
      const fresh = [...document.querySelectorAll("main a[href*='/resets/']")].map((a) => a.getAttribute("href").split("/").pop()).filter((id) => !(id in window.painted));
      if (!fresh.length) return;
      for (const id of fresh) window.painted[id] = 0;
      // What is in the document at the next frame is on the screen once a task after that frame runs.
      requestAnimationFrame(() => {
        const after = new MessageChannel();
        after.port1.onmessage = () => { for (const id of fresh) window.painted[id] = Date.now(); };
        after.port2.postMessage(0);
      });
    };
    document.addEventListener("DOMContentLoaded", () => {
      look();
      new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
    });
  });
  await reset(given.devices[0]);
  await page.goto(`${given.url}/tenants/${given.tenant}/resets`);
  await page.waitForFunction(() => window.opened > 0);
  const took = [];
  for (const device of given.devices.slice(1)) {
    const sent = Date.now();
    const id = await reset(device);
    const painted = await page.waitForFunction((id) => window.painted[id], id, { timeout: 10000 });
    took.push((await painted.jsonValue()) - sent);
    await page.waitForTimeout(Math.random() * 200); // at no fixed distance from what the server does by itself
  }
  console.log(JSON.stringify(took));
} finally {
  await browser.close();
}
