/**
 * The example page in a headless Chromium, against a running cluster with flights.
 *
 * CHROMIUM is the browser's path. Prints nothing; exits with an error if the page does not do what it should.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { createServer } from "vite";
import { check as checkIndexed } from "./indexed.mjs";

const { OQL_REST_URL, OQL_ADMIN_TOKEN, CHROMIUM } = process.env;
const WITHIN_MS = 30_000;

async function api(method, path, body) {
  const headers = {
    Authorization: `Bearer ${OQL_ADMIN_TOKEN}`,
    "Content-Type": "application/json",
  };
  const init = { method, headers, ...(body && { body: JSON.stringify(body) }) };
  const answer = await fetch(OQL_REST_URL + path, init);
  assert(answer.ok, await answer.clone().text());
  return answer.json();
}

const cacheDir = await mkdtemp(join(tmpdir(), "example-"));
const root = fileURLToPath(new URL("../../example", import.meta.url));
const server = await createServer({ root, cacheDir, logLevel: "error", server: { port: 0 } });
await server.listen();
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const errors = [];
const heard = [];
const page = await browser.newPage();
page.on("pageerror", (error) => errors.push(error));
page.on("console", (said) => said.type() === "error" && heard.push(said.text()));
try {
  page.setDefaultTimeout(WITHIN_MS);

  const where = { dep_delay: { $gt: 15 }, carrier: "UA" };
  const asked = { where, limit: 1, orderBy: "id", fields: ["dep_delay"] };
  const { items } = await api("POST", "/api/flight/query", asked);
  const [{ id, dep_delay: before }] = items;

  await page.goto(server.resolvedUrls.local[0]);
  await checkIndexed(page, `/@fs${fileURLToPath(new URL("../../src/index.ts", import.meta.url))}`);

  await page.goto("about:blank");
  await page.goto(`${server.resolvedUrls.local[0]}#token=${OQL_ADMIN_TOKEN}`);
  await page.locator("select").selectOption("UA");
  const row = page.locator(`[id="flight-${id}"]`);
  const shows = (minutes) => row.locator(`.minutes:text-is("${minutes}")`).waitFor();
  await shows(before);

  await api("PATCH", `/api/flight/${id}`, { dep_delay: 7001 }); // somebody else
  await shows(7001);

  await page.route("**/api/flight/*", async (route) => {
    await shows(7006); // seen before the server has heard of it
    await route.continue();
  });
  await row.locator("button").click();
  await shows(7006);
  await page.unroute("**/api/flight/*");
  await page.locator("table:not(.pending)").waitFor();
  assert.equal((await api("GET", `/api/flight/${id}`)).dep_delay, 7006);

  await page.route("**/api/flight/*", (route) =>
    route.fulfill({ status: 403, json: { code: "PERMISSION_DENIED", detail: "you may not" } }),
  );
  await row.locator("button").click();
  await page.locator('[role="alert"]', { hasText: "you may not" }).waitFor();
  await shows(7006); // taken back

  await api("PATCH", `/api/flight/${id}`, { dep_delay: 1 });
  await row.waitFor({ state: "detached" });
  assert((await page.locator("tbody tr").count()) > 0);
  assert.deepEqual(errors, []);
  await api("PATCH", `/api/flight/${id}`, { dep_delay: before });
} catch (error) {
  process.stderr.write(`${await page.content()}\n${[...errors, ...heard].join("\n")}\n`);
  throw error;
} finally {
  await browser.close();
  await server.close();
  await rm(cacheDir, { recursive: true });
}
