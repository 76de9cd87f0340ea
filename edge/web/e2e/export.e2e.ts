/** The exported folder on a plain host, which sends no headers. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import * as use from "./harness";

const FOLDER = join(use.FOLDER, "exported");
const ONE_THREAD = "WebAssembly, 1 thread";

let browser: Browser;
let hosted: use.Served;
let song: string;

beforeAll(async () => {
  execFileSync(use.PYTHON, ["-m", "mmdense_edge", "serve", "--export", FOLDER]);
  [hosted, browser] = await Promise.all([use.host(use.FOLDER), use.launch()]);
  hosted.url += "exported/"; // a page need not be a host's first
  song = use.wavFile("exported.wav", 3, 2);
});

afterAll(async () => {
  await browser.close();
  await hosted.stop();
});

const visits = (requests: string[], url: string) => requests.filter((request) => request === url).length;

test.each([
  ["1280x800", { viewport: use.DESKTOP }],
  ["360x780", { viewport: use.PHONE, isMobile: true, hasTouch: true, colorScheme: "light" as const }],
])("loaded once more, then with threads, and without the host the second time, %s", async (size, options) => {
  const own = await use.host(FOLDER);
  const { page, context, requests, problems } = await use.visit(browser, own.url, options);
  await page.waitForFunction(() => document.getElementById("engine")!.textContent!.endsWith("works offline"));
  expect(await page.textContent("#engine")).toMatch(/^WebAssembly, \d+ threads/);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  console.log(`${requests.length} requests:\n${requests.map((url) => url.replace(own.url, "/")).join("\n")}`);
  expect(requests.filter((url) => !url.startsWith(own.url))).toEqual([]);
  expect(problems).toEqual([]);
  await own.stop();
  expect(await use.again(page, song)).toMatch(/^WebAssembly, \d+ threads.* 0:03 separated/);
  await page.screenshot({ path: join(use.WEB, "screenshots", `exported-${size}.png`) });
  await context.close();
});

/** Asks for something of another host and returns which part of the policy forbids it. */
function forbidden(url: string): Promise<string> {
  return new Promise((resolve) => {
    addEventListener("securitypolicyviolation", (event) => resolve((event as SecurityPolicyViolationEvent).effectiveDirective));
    fetch(url).catch(() => {});
  });
}

test("without a service worker: one thread, and the policy is in the page", async () => {
  const { page, context, requests } = await use.visit(browser, hosted.url, { serviceWorkers: "block" });
  expect(await use.started(page)).toBe(ONE_THREAD);
  expect(visits(requests, hosted.url)).toBe(1);
  expect(await page.evaluate(forbidden, "http://127.0.0.1:1")).toBe("connect-src");
  await use.choose(page, song);
  await use.separated(page);
  await context.close();
});

test("with one, the policy binds the page's worker, too", async () => {
  const { page, context } = await use.visit(browser, hosted.url);
  await page.waitForFunction(() => crossOriginIsolated);
  await use.started(page);
  expect(await page.workers()[0]!.evaluate(forbidden, "http://127.0.0.1:1")).toBe("connect-src");
  await context.close();
});

test("a song that was chosen first is separated: no second load", async () => {
  const context = await browser.newContext();
  context.setDefaultTimeout(use.PATIENCE_MS);
  const page = await context.newPage();
  await page.addInitScript(() => {
    const register = navigator.serviceWorker.register.bind(navigator.serviceWorker);
    const asked = new Promise((resolve) => addEventListener("register", resolve));
    navigator.serviceWorker.register = (...all) => asked.then(() => register(...all));
  });
  await page.goto(hosted.url);
  await use.choose(page, song);
  await page.waitForFunction(() => document.body.dataset["state"] === "working");
  await page.evaluate(() => dispatchEvent(new Event("register")));
  await use.separated(page);
  expect(await use.started(page)).toMatch(ONE_THREAD);
  await context.close();
});

test("a host whose service worker isolates nothing is asked once", async () => {
  const { page, context, requests } = await use.visit(browser, hosted.url);
  await page.waitForFunction(() => crossOriginIsolated);
  await use.started(page);
  expect(visits(requests, hosted.url)).toBeGreaterThan(1);
  await page.addInitScript(() => Object.defineProperty(self, "crossOriginIsolated", { value: false }));
  requests.length = 0;
  await page.reload();
  await use.started(page);
  expect(visits(requests, hosted.url)).toBe(2);
  await context.close();
});
