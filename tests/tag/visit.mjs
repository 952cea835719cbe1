// Pages with the script in Chromium, one after the other, each visited by somebody new. A page is on another site than
// the server; what it does is compared with what the server then has.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import puppeteer from "puppeteer-core";

const { server, below, token, secret } = JSON.parse(readFileSync(0, "utf8"));

// How long something may take that has to come, and how long is waited for what must not.
const PATIENCE = 10_000;
const GRACE = 300;

// --- Sites

const pages = new Map();

/// A site that has `pages`; gives its origin.
function site(host) {
  const listener = createServer((request, response) => {
    const page = pages.get(request.url.split("?")[0]);
    // Browsers ask for an icon too.
    response.writeHead(page ? 200 : 204, {
      "Content-Type": "text/html; charset=utf-8",
      // Whatever is embedded has to say that it may be.
      "Cross-Origin-Embedder-Policy": "require-corp",
      ...page?.headers,
    });
    response.end(page?.html ?? "");
  });
  return new Promise((resolve) => {
    listener.listen(0, "127.0.0.1", () => resolve(`http://${host}:${listener.address().port}`));
  }).finally(() => listener.unref());
}

const home = await site("localhost");
const elsewhere = await site("127.0.0.1");

/// A page's HTML: `before` and `after` stand around the element, which has `more` attributes.
function html(title, { before = "", more = "", after = "", from = server } = {}) {
  const tag = `<script async src="${from}/t.js" data-token="${token}" ${more}></script>`;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>${before}${tag}${after}`;
}

const inline = (script) => `<script>${script}</script>`;

// As the README has it.
const STUB = inline(
  'var triggerly = window.triggerly || { q: [], track: (...given) => triggerly.q.push(["track", given]), ' +
    'user: (...given) => triggerly.q.push(["user", given]) };',
);

// --- What the server has

let last = 0;

async function read(path) {
  const answer = await fetch(server + path, { headers: { Authorization: `Bearer ${secret}` } });
  return answer.json();
}

/// Events that came since this was asked last: as many as there have to be, and no more.
async function arrived(count) {
  const began = Date.now();
  for (;;) {
    const { events } = await read("/v1/events?limit=1000");
    const fresh = events.filter((event) => event.seq > last).reverse();
    if (fresh.length < count && Date.now() - began < PATIENCE) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      continue;
    }
    await new Promise((resolve) => setTimeout(resolve, GRACE));
    const all = (await read("/v1/events?limit=1000")).events.filter((event) => event.seq > last).reverse();
    last = all.at(-1)?.seq ?? last;
    return all;
  }
}

/// An event as it was sent.
const sent = ({ type, user_id, attributes }) => ({ type, ...(user_id && { user_id }), ...attributes });

// --- Visitors

const chromium = await puppeteer.launch({
  executablePath: execFileSync("which", ["chromium"], { encoding: "utf8" }).trim(),
  // Root has no sandbox, a container hardly any shared memory.
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server", "--accept-lang=de-CH"],
  // It ends with this program, however that ends.
  pipe: true,
});

/// Somebody new, of whom is known what went wrong (`faults`), was asked of the server (`asked`) and was warned of.
async function visitor() {
  const context = await chromium.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const who = { context, page, faults: [], asked: [], warnings: [] };
  page.on("pageerror", (error) => who.faults.push(`${error}`));
  page.on("console", (message) => {
    (message.type() === "warn" ? who.warnings : who.faults).push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(home)) who.asked.push(request);
  });
  page.on("response", (response) => {
    if (response.headers()["set-cookie"]) who.faults.push(`a cookie from ${response.url()}`);
  });
  await page.evaluateOnNewDocument(() => {
    addEventListener("securitypolicyviolation", (event) => console.error("violated", event.violatedDirective));
  });
  return who;
}

/// Nothing is kept in the browser, by anybody.
async function keepsNothing({ context, page }) {
  assert.deepEqual(await context.cookies(), []);
  const kept = await page.evaluate(async () => [
    document.cookie,
    localStorage.length,
    sessionStorage.length,
    (await indexedDB.databases()).length,
    (await caches.keys()).length,
    (await navigator.serviceWorker.getRegistrations()).length,
  ]);
  assert.deepEqual(kept, ["", 0, 0, 0, 0, 0]);
}

const scenarios = [];

/// Pages, and what is done on the first of them. `run` gets the visitor and gives the events that have to have arrived;
/// `options`: what is opened, if not the first page as it is, headers of the pages, and whether the page is gone in the end.
function scenario(name, page, run, options = {}) {
  scenarios.push({ name, page, run, options });
}

/// What a page view says, with the title and address of a page of ours.
const view = (title, path, more = {}) => ({
  type: "page view", title, language: "de-CH", width: 800, page: home + path, ...more,
});

const loaded = (page) => page.waitForFunction(() => window.triggerly && !triggerly.q, { polling: 20 });

// --- Page views

scenario(
  "a visitor from another site",
  { "/landing": html("Landing ü") },
  async ({ page }) => {
    pages.set("/link", { html: `<meta name="referrer" content="unsafe-url"><a href="${home}/landing?utm_source=news%20letter&utm_medium=mail&reset=secret#part">x</a>` });
    await page.goto(`${elsewhere}/link?q=secret`);
    await Promise.all([page.waitForNavigation(), page.click("a")]);
    await loaded(page);
    await page.evaluate(() => history.pushState({}, "", "/landing/more"));
    const came = { utm_source: "news letter", utm_medium: "mail", referrer: `${elsewhere}/link` };
    return [view("Landing ü", "/landing", came), view("Landing ü", "/landing/more")];
  },
  { open: false },
);

scenario(
  "from one page of a site to the next",
  { "/first": html("First", { after: '<a href="/second?x=1">x</a>' }), "/second": html("Second") },
  async ({ page }) => {
    await loaded(page);
    await Promise.all([page.waitForNavigation(), page.click("a")]);
    await loaded(page);
    return [view("First", "/first"), view("Second", "/second")];
  },
);

scenario("a page whose address changes", { "/app": html("App") }, async ({ page }) => {
  await loaded(page);
  const go = async (script) => {
    await page.evaluate(script);
    await new Promise((resolve) => setTimeout(resolve, 250));
  };
  await go('history.pushState({}, "", "/app/a"); setTimeout(() => (document.title = "A"))');
  await go('history.replaceState({}, "", "/app/a?tab=2#part")');
  await go('history.replaceState({}, "", "/app/b"); document.title = "B"');
  await go('history.pushState({}, "", "/app/redirected"); history.replaceState({}, "", "/app/c")');
  await go("history.back()");
  await go('location.hash = "part"');
  await go('location.hash = "#/route?token=secret"');
  await go('location.hash = "#!route"');
  // An address that isn't allowed is the page's own mistake, and it is told of it as ever.
  assert.equal(
    await page.evaluate(() => {
      try {
        history.pushState({}, "", "https://elsewhere.example/");
      } catch (error) {
        return error.name;
      }
    }),
    "SecurityError",
  );
  return [
    view("App", "/app"),
    view("A", "/app/a"),
    view("B", "/app/b"),
    view("B", "/app/c"),
    view("B", "/app/b"),
    view("B", "/app/b#/route"),
    view("B", "/app/b#!route"),
  ];
});

scenario(
  "a query that makes another page",
  { "/index.php": html("Shop", { more: 'data-query="p lang"' }) },
  async ({ page }) => {
    await loaded(page);
    for (const query of ["?p=2&x=1", "?x=2&p=2", "?lang=%C3%BC&x=1&p=a%26b"]) {
      await page.evaluate((query) => history.pushState({}, "", query), query);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    return ["?p=1", "?p=2", "?lang=%C3%BC&p=a%26b"].map((query) => view("Shop", `/index.php${query}`));
  },
  { open: "/index.php?p=1&session=secret" },
);

scenario("no page views unasked", { "/quiet": html("Quiet", { more: 'data-auto="off"' }) }, async ({ page }) => {
  await loaded(page);
  await page.evaluate(() => history.pushState({}, "", "/quiet/2"));
  await new Promise((resolve) => setTimeout(resolve, 250));
  await page.evaluate(() => triggerly.track("page view", { page: "mine" }));
  return [{ type: "page view", page: "mine" }];
});

scenario(
  "a page in a frame",
  {
    "/outer": '<!doctype html><title>Outer</title><iframe src="/inner"></iframe>',
    "/inner": html("Inner", { before: STUB, after: inline('triggerly.track("in a frame")') }),
  },
  async () => [{ type: "in a frame" }],
);

scenario(
  "a page that was kept and is come back to",
  { "/kept": html("Kept"), "/away": "<!doctype html><title>Away</title>" },
  async ({ page }) => {
    await loaded(page);
    await page.evaluate(() => (window.same = true));
    await page.goto(`${home}/away`);
    await page.goBack();
    await loaded(page);
    assert.equal(await page.evaluate(() => window.same), true, "it has to be the same document");
    return [view("Kept", "/kept"), view("Kept", "/kept")];
  },
);

scenario(
  "a page made ahead of time",
  {
    "/now": `<!doctype html><title>Now</title><a href="/ahead">x</a>
      <script type="speculationrules">{"prerender": [{"urls": ["/ahead"], "eagerness": "immediate"}]}</script>`,
    "/ahead": html("Ahead", { before: STUB, after: inline('triggerly.track("tracked", { ahead: document.prerendering })') }),
  },
  async ({ page }) => {
    await new Promise((resolve) => setTimeout(resolve, 2000));
    assert.deepEqual(await arrived(0), [], "nobody has seen it yet");
    // Another document takes this one's place, which the driver's handle of it may not survive.
    await page.evaluate(() => void setTimeout(() => document.querySelector("a").click()));
    return [{ type: "tracked", ahead: true }, view("Ahead", "/ahead")];
  },
  { gone: true },
);

// --- Events and users

const ODD = { text: "Größe 12½ 👍🏽👨‍👩‍👧 \u2028 </script> + / ? & = % \u0000 \ud800", n: 1.5, deep: { "ключ": [null, true, "ÿ>>>???"] } };
// Half a surrogate is no text; what comes in its place is U+FFFD.
const ODD_KEPT = { ...ODD, text: ODD.text.replace("\ud800", "\ufffd") };

scenario("events and a user", { "/shop": html("Shop", { more: 'data-auto="off"' }) }, async ({ page }) => {
  await loaded(page);
  await page.evaluate((odd) => {
    triggerly.track("plain");
    triggerly.track("odd", { ...odd, text: odd.text.slice(0, -1) + "\ud800" });
    triggerly.user("zoë@example.com", { name: "Zoë 👍🏽", plan: "pro" });
    triggerly.track("known", { type: "not this one", item: "Tea ☕" });
    triggerly.track("of another", { user_id: 7 });
    triggerly.user(12);
    triggerly.track("by number", Object.freeze({ frozen: true }));
    triggerly.user(null);
    triggerly.track("nobody", { nothing: undefined, date: "2001-07-04" });
  }, ODD);
  const events = [
    { type: "plain" },
    { type: "odd", ...ODD_KEPT },
    { type: "known", user_id: "zoë@example.com", item: "Tea ☕" },
    { type: "of another", user_id: "7" },
    { type: "by number", user_id: "12", frozen: true },
    { type: "nobody" },
  ];
  return { events, users: { "zoë@example.com": { name: "Zoë 👍🏽", plan: "pro" }, 12: {} } };
});

scenario(
  "calls before the script is there",
  {
    "/early": html("Early", {
      before: STUB + inline('triggerly.track("first"); triggerly.user("early"); triggerly.track("second", { n: 2 })'),
    }),
  },
  async () => [
    { type: "first" },
    { type: "second", user_id: "early", n: 2 },
    view("Early", "/early", { user_id: "early" }),
  ],
);

for (const [name, close] of [
  ["closed", ({ page }) => page.close()],
  ["left", ({ page }) => page.goto("about:blank")],
]) {
  scenario(
    `a page that is ${name} right away`,
    { "/brief": html("Brief", { more: 'data-auto="off"' }) },
    async (who) => {
      await loaded(who.page);
      await who.page.evaluate(() => {
        addEventListener("pagehide", () => triggerly.track("left", { how: "for good" }));
        triggerly.track("read");
      });
      await close(who);
      return [{ type: "read" }, { type: "left", how: "for good" }];
    },
    { gone: true },
  );
}

// --- Ways

const MISSING = inline("delete Navigator.prototype.sendBeacon");
const REFUSING = inline("Navigator.prototype.sendBeacon = () => false");
const THROWING = inline('Navigator.prototype.sendBeacon = () => { throw new TypeError("no") }');

for (const [name, before] of [["missing", MISSING], ["refused", REFUSING], ["throwing", THROWING]]) {
  scenario(
    `beacons are ${name}`,
    { "/pixel": html("Pixel ü", { before }) },
    async ({ page, asked }) => {
      await loaded(page);
      const long = "ü".repeat(31_000);
      await page.evaluate(
        (odd, long) => {
          triggerly.track("odd", odd);
          triggerly.track("long", { long });
        },
        ODD_KEPT,
        long,
      );
      await page.waitForNetworkIdle();
      assert.ok(asked.every((request) => ["script", "image"].includes(request.resourceType())));
      return [view("Pixel ü", "/pixel"), { type: "odd", ...ODD_KEPT }, { type: "long", long }];
    },
  );
}

scenario("more at once than beacons take", { "/much": html("Much", { more: 'data-auto="off"' }) }, async ({ page, asked }) => {
  await loaded(page);
  const text = "x".repeat(60_000);
  await page.evaluate((text) => ["a", "b", "c"].forEach((name) => triggerly.track("much", { name, text })), text);
  const ways = new Set(asked.map((request) => request.resourceType()));
  assert.deepEqual([...ways].sort(), ["image", "ping", "script"]);
  return ["a", "b", "c"].map((name) => ({ type: "much", name, text }));
});

const policy = (extra) => ({
  "Content-Security-Policy": `default-src 'none'; script-src ${server}; connect-src ${server}; img-src ${server}; ${extra}`,
});

for (const [name, extra, spoilt] of [
  ["beacons", "require-trusted-types-for 'script'; trusted-types 'none'", false],
  ["pixels", "sandbox allow-scripts allow-same-origin", true],
]) {
  scenario(
    `a strict policy, and ${name}`,
    { "/strict": html("Strict") },
    async ({ page }) => {
      if (spoilt) await page.evaluateOnNewDocument(() => delete Navigator.prototype.sendBeacon);
      await page.goto(`${home}/strict`);
      await loaded(page);
      await page.waitForNetworkIdle();
      return [view("Strict", "/strict")];
    },
    { open: false, headers: policy(extra) },
  );
}

scenario("a server below a path", { "/below": html("Below", { from: below }) }, async () => [view("Below", "/below")]);

scenario(
  "an element that a script made",
  {
    "/made": `<!doctype html><meta charset="utf-8"><title>Made</title>${inline(`
      const tag = document.createElement("script");
      tag.src = "${server}/t.js";
      tag.dataset.token = "${token}";
      document.documentElement.append(tag);`)}`,
  },
  async () => [view("Made", "/made")],
);

scenario(
  "the element twice, and run anew",
  { "/twice": html("Twice", { after: html("Twice") }) },
  async ({ page, warnings }) => {
    await loaded(page);
    await page.evaluate(() => {
      triggerly.user("the same");
      const [tag] = document.querySelectorAll("script");
      const again = document.createElement("script");
      for (const { name, value } of tag.attributes) again.setAttribute(name, value);
      document.documentElement.append(again);
      return new Promise((resolve) => (again.onload = resolve));
    });
    await page.evaluate(() => history.pushState({}, "", "/twice/2"));
    assert.deepEqual(warnings, []);
    return [view("Twice", "/twice"), view("Twice", "/twice/2", { user_id: "the same" })];
  },
);

// --- Who asks not to be tracked

const says = (name, value) => inline(`Object.defineProperty(Navigator.prototype, "${name}", { get: () => ${value} })`);
const GPC = says("globalPrivacyControl", "true");
const DNT = says("doNotTrack", '"1"');
const CALLS = inline('triggerly.user("u"); triggerly.track("unwanted")');

for (const [name, signal] of [["GPC", GPC], ["DNT", DNT]]) {
  scenario(
    `${name}, and it is heeded`,
    { "/private": html("Private", { before: signal + STUB + CALLS, more: "data-respect-opt-out" }) },
    async ({ page, asked }) => {
      await loaded(page);
      await page.evaluate(() => {
        triggerly.track("later");
        history.pushState({}, "", "/private/2");
      });
      await new Promise((resolve) => setTimeout(resolve, 250));
      assert.deepEqual(asked.map((request) => request.url()), [`${server}/t.js`]);
      return [];
    },
  );
  scenario(`${name}, and nobody said to heed it`, { "/open": html("Open", { before: signal }) }, async () => [
    view("Open", "/open"),
  ]);
}

scenario(
  "nobody asks not to be tracked",
  { "/respect": html("Respect", { before: says("globalPrivacyControl", "false") + says("doNotTrack", '"0"'), more: "data-respect-opt-out" }) },
  async () => [view("Respect", "/respect")],
);

// --- Nothing is thrown into the page

scenario("attributes that are no JSON", { "/odd": html("Odd", { more: 'data-auto="off"' }) }, async ({ page, warnings }) => {
  await loaded(page);
  const given = await page.evaluate(() => {
    const circle = {};
    circle.circle = circle;
    const thrower = { get n() { throw new Error("mine"); } };
    return [
      triggerly.track("circular", circle),
      triggerly.track("big", { n: 1n }),
      triggerly.track("throwing", thrower),
      triggerly.track(Symbol("s"), circle),
      triggerly.user("u", circle),
      triggerly.track("after", { function: () => 1, symbol: Symbol("s"), date: new Date(0) }),
    ].every((value) => value === undefined);
  });
  assert.ok(given);
  assert.equal(warnings.length, 5);
  return [{ type: "after", user_id: "u" }];
});

scenario(
  "a page without what browsers have",
  {
    "/bare": html("Bare", {
      before: inline(`
        delete Navigator.prototype.sendBeacon;
        window.Image = function () { throw new Error("no images"); };
        Object.freeze(history);
        Object.freeze(document);
        delete window.URLSearchParams;
        Object.defineProperty(window, "triggerly", { value: { q: [["track", ["x"]]] }, writable: false });`),
    }),
  },
  async ({ page }) => {
    await page.waitForNetworkIdle();
    await page.evaluate(() => history.pushState({}, "", "/bare/2"));
    return [];
  },
);

for (const [name, tag] of [
  ["a module, which can't know its element", `<script type="module" src="${server}/t.js" data-token="${token}"></script>`],
  ["no URL at all", `${inline("delete window.URL")}<script src="${server}/t.js" data-token="${token}"></script>`],
]) {
  // Modules are fetched as CORS says.
  scenario(name, { "/unable": `<!doctype html><title>Unable</title>${tag}` }, async ({ page, warnings }) => {
    await page.waitForNetworkIdle();
    assert.equal(warnings.length, 1);
    return [];
  });
}

// --- All of it

/// Events in an order of their own: what is sent at once may come in any.
const inOrder = (events) => {
  const key = ({ type, page = "", name = "" }) => `${type} ${page} ${name}`;
  return events.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
};

let failed = 0;
for (const { name, page: own, run, options } of scenarios) {
  for (const [path, html] of Object.entries(own)) pages.set(path, { html, headers: options.headers });
  const who = await visitor();
  try {
    if (options.open !== false) await who.page.goto(home + (options.open ?? Object.keys(own)[0]));
    const given = await run(who);
    const { events: wanted, users = {} } = Array.isArray(given) ? { events: given } : given;
    const found = (await arrived(wanted.length)).map(sent);
    assert.deepEqual(inOrder(found), inOrder(wanted));
    for (const [id, attributes] of Object.entries(users)) {
      assert.deepEqual((await read(`/v1/users/${encodeURIComponent(id)}`)).attributes, attributes);
    }
    if (!options.gone) await keepsNothing(who);
    assert.deepEqual(who.faults, []);
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error.stack}`);
    await arrived(0);
  }
  await who.context.close();
}
await chromium.close();
assert.equal(failed, 0, "see above");
