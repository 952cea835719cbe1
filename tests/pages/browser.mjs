// Chromium, and visitors in it of whom nothing is missed: each request that leaves the origin, each error in the
// console, each violation of a policy, each exception, dialog and window.

import { existsSync } from "node:fs";
import { puppeteer } from "./packages.mjs";
import { startProxy } from "./proxy.mjs";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const FLAGS = [
  // Root has no sandbox, a container hardly any shared memory.
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-domain-reliability",
  "--disable-sync",
  "--disable-features=OptimizationHints,MediaRouter,DialMediaRouteProvider,Translate,AutofillServerCommunication",
  // Whoever is asked has to be asked through the proxy, this machine too.
  "--proxy-bypass-list=<-loopback>",
  "--force-color-profile=srgb",
  "--lang=en-GB",
];

// What is waited for at most, in milliseconds: a debug build on a busy machine answers all the same.
const PATIENCE = 60_000;

// Violations that are of no interest here: the rest of what the browser's inspector finds fault with is a fault.
const HARMLESS_ISSUES = new Set([
  // Tells that a document has quirks, a setting is old, cookies are being phased out and the like.
  "BounceTrackingIssue",
  "CookieDeprecationMetadataIssue",
  "NavigatorUserAgentIssue",
  "ElementAccessibilityIssue",
]);

/// A browser that reaches these hosts alone, for as long as `run` takes.
export async function withBrowser(hosts, run) {
  const proxy = await startProxy(hosts);
  const chromium = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? CHROMIUM.find((path) => existsSync(path)),
    args: [...FLAGS, `--proxy-server=http://${proxy.address}`],
    headless: true,
    protocolTimeout: PATIENCE * 2,
    timeout: PATIENCE,
  });
  try {
    await run(new Browser(chromium, proxy));
  } finally {
    await chromium.close();
    proxy.stop();
  }
}

class Browser {
  constructor(chromium, proxy) {
    this.chromium = chromium;
    this.proxy = proxy;
  }

  /// Lets pages reach another host.
  allow(host) {
    this.proxy.allow(host);
  }

  /// Somebody with no cookies yet, who sees the pages of `origin`.
  async visitor(origin, { javascript = true, scheme = "light", width = 1280, height = 900 } = {}) {
    const context = await this.chromium.createBrowserContext();
    const page = await context.newPage();
    const visitor = new Visitor(this, context, page, origin);
    await visitor.watch();
    await page.setJavaScriptEnabled(javascript);
    await visitor.scheme(scheme);
    await visitor.size(width, height);
    return visitor;
  }
}

/// One who visits. `faults` is all that went wrong since it was looked at last.
export class Visitor {
  constructor(browser, context, page, origin) {
    Object.assign(this, { browser, context, page, origin });
    this.faults = [];
    this.expected = [];
    this.dialogs = [];
    this.bytes = new Map();
  }

  async watch() {
    const { page, context } = this;
    page.setDefaultTimeout(PATIENCE);
    page.setDefaultNavigationTimeout(PATIENCE);
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(`${this.origin}/`) && !/^(data|about):/.test(url)) {
        this.fault(`a request to elsewhere: ${request.method()} ${url}`);
      }
    });
    page.on("requestfailed", (request) => {
      const why = request.failure()?.errorText;
      // A page that is left breaks off what it was fetching.
      if (why !== "net::ERR_ABORTED") this.fault(`a request failed: ${request.url()}: ${why}`);
    });
    page.on("console", (message) => {
      if (["error", "warn", "assert"].includes(message.type())) {
        this.fault(`in the console: ${message.text()} (${message.location().url ?? ""})`);
      }
    });
    page.on("pageerror", (error) => this.fault(`an exception: ${error.stack ?? error}`));
    page.on("dialog", async (dialog) => {
      const answer = this.dialogs.shift();
      if (answer === undefined) this.fault(`a dialog: ${dialog.message()}`);
      await (answer ? dialog.accept() : dialog.dismiss());
    });
    context.on("targetcreated", (target) => {
      if (target.type() === "page" && this.browser.chromium.connected && !this.closing) {
        this.fault(`a window: ${target.url()}`);
      }
    });
    const session = await page.createCDPSession();
    session.on("Audits.issueAdded", ({ issue }) => {
      if (!HARMLESS_ISSUES.has(issue.code)) {
        this.fault(`an issue: ${issue.code} ${JSON.stringify(issue.details)}`);
      }
    });
    await session.send("Audits.enable");
    const transferred = ({ requestId, encodedDataLength }) => {
      const known = this.bytes.get(requestId);
      if (known) known.bytes = encodedDataLength;
    };
    session.on("Network.responseReceived", ({ requestId, response }) => {
      this.bytes.set(requestId, { url: response.url, bytes: 0, cached: response.fromDiskCache });
    });
    session.on("Network.loadingFinished", transferred);
    await session.send("Network.enable");
    // Seen by the page itself too, which knows best which policy it was.
    await page.exposeFunction("__violated", (text) => this.fault(`against the policy: ${text}`));
    await page.evaluateOnNewDocument(() => {
      addEventListener("securitypolicyviolation", (event) => {
        window.__violated(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
      });
    });
  }

  fault(text) {
    if (!this.expected.some((pattern) => pattern.test(text))) {
      this.faults.push(`${this.page.url()}: ${text}`);
    }
  }

  /// Faults that match are none, while `run` does something that has to bring them about.
  async expecting(pattern, run) {
    this.expected.push(pattern);
    try {
      return await run();
    } finally {
      await this.settle();
      this.expected.pop();
    }
  }

  /// Fails if something went wrong since it was asked last.
  async clean() {
    await this.settle();
    const elsewhere = this.browser.proxy.refused().map((what) => `elsewhere was asked: ${what}`);
    const faults = [...this.faults.splice(0), ...elsewhere];
    if (faults.length > 0) throw new Error(faults.join("\n"));
  }

  /// Lets what the browser has to tell arrive.
  async settle() {
    await this.page.evaluate(() => document.readyState);
  }

  async scheme(value) {
    await this.page.emulateMediaFeatures([
      { name: "prefers-color-scheme", value },
      // Nothing moves while it is looked at.
      { name: "prefers-reduced-motion", value: "reduce" },
    ]);
  }

  async size(width, height = 900) {
    await this.page.setViewport({ width, height, isMobile: false, deviceScaleFactor: 1 });
  }

  /// Opens a path, or an address of the origin, and gives the answer.
  async open(path) {
    const url = path.startsWith("http") ? path : `${this.origin}${path}`;
    const answer = await this.page.goto(url, { waitUntil: "load" });
    return answer;
  }

  /// Does what leads to another page, and waits for that one.
  async going(run) {
    const [answer] = await Promise.all([this.page.waitForNavigation({ waitUntil: "load" }), run()]);
    return answer;
  }

  /// Where it is: the path, with the query.
  get path() {
    const { pathname, search } = new URL(this.page.url());
    return pathname + search;
  }

  /// What a reader sees of the page.
  async text() {
    return this.page.evaluate(() => document.body.innerText);
  }

  /// What is shown, as HTML.
  async html() {
    return this.page.content();
  }

  /// Types into the field with this label, in place of what is there.
  async fill(label, value) {
    const field = await this.field(label);
    await field.evaluate((input) => {
      input.value = "";
    });
    await field.type(value);
    return field;
  }

  /// The field whose label begins with this.
  async field(label) {
    const handle = await this.page.evaluateHandle((label) => {
      const is = (text) => (text ?? "").replace(/\s+/g, " ").trim().startsWith(label);
      const labels = [...document.querySelectorAll("label")].filter((one) => is(one.textContent));
      const controls = labels.map((one) => one.control).filter(Boolean);
      return controls.find((control) => control.checkVisibility()) ?? null;
    }, label);
    const element = handle.asElement();
    if (!element) throw new Error(`${this.page.url()}: no field called "${label}"`);
    return element;
  }

  /// The button or link whose words are these; `near`: what its form, row or section says, where there are many.
  async press(words, near = "") {
    await (await this.toPress("button, a[href]", words, near)).click();
  }

  /// Opens what is folded under these words.
  async unfold(words, near = "") {
    const summary = await this.toPress("summary", words, near);
    if (!(await summary.evaluate((one) => one.parentElement.open))) await summary.click();
  }

  async toPress(selector, words, near) {
    const handle = await this.page.evaluateHandle(
      (selector, words, near) => {
        const clean = (text) => (text ?? "").replace(/\s+/g, " ").trim();
        const around = "form, tr, section, li, article, fieldset, details";
        const hasNear = (one) => {
          for (let at = one.parentElement?.closest(around); at; at = at.parentElement?.closest(around)) {
            if (clean(at.textContent).includes(near)) return true;
          }
          return false;
        };
        const named = [...document.querySelectorAll(selector)].filter((one) => clean(one.textContent) === words && one.checkVisibility());
        return (near ? named.find(hasNear) : named[0]) ?? null;
      },
      selector,
      words,
      near,
    );
    const element = handle.asElement();
    if (!element) throw new Error(`${this.page.url()}: nothing to press that says "${words}"`);
    return element;
  }

  /// Chooses the option with these words in the field with this label.
  async choose(label, words) {
    const field = await this.field(label);
    const value = await field.evaluate((select, words) => [...select.options].find((option) => option.text.trim() === words)?.value, words);
    if (value === undefined) throw new Error(`${this.page.url()}: "${label}" has no choice "${words}"`);
    await field.select(value);
  }

  /// Presses what leads to another page, and gives its answer.
  async follow(words, near = "") {
    return this.going(() => this.press(words, near));
  }

  async leave() {
    this.closing = true;
    await this.context.close();
  }
}
