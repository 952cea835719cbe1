// Whoever watches has to see: each fault, put into a page, is found, and a page without any has none.

import assert from "node:assert/strict";
import { withBrowser } from "./browser.mjs";
import { axeFaults, htmlFaults, injectionFaults, overflowFaults } from "./checks.mjs";
import { startSite } from "./site.mjs";

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const page = (content, head = "") =>
  `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>A page</title>\n<link rel="icon" href="/icon.js">${head}\n</head>\n<body>\n<main><h1>A page</h1>\n${content}\n</main>\n</body>\n</html>\n`;

// What a page has in it, which of the eyes has to see it, and what it says of it. `null`: nothing may be said.
const cases = [
  ["nothing", "<p>Some <bdi>text</bdi>.</p>", "clean", null],
  ["nothing", "<p>Some <bdi>text</bdi>.</p>", "html", null],
  ["nothing", "<p>Some <bdi>text</bdi>.</p>", "axe", null],
  ["nothing", "<p>Some <bdi>text \u202etext</bdi> and <a href='/x'>a</a>, <a href='https://a.example/' rel='noreferrer noopener'>b</a>.</p>", "injection", null],
  ["nothing", "<p>Some <bdi>text</bdi>.</p>", "overflow", null],
  ["an image of elsewhere", "<img src='http://a.example/x.png' alt=''>", "clean", /a\.example/],
  ["an image that isn't there", "<img src='/none.png' alt=''>", "clean", /404/],
  ["an inline script", "<script>1</script>", "clean", /script-src/],
  ["a handler", "<p onclick='1'>x</p>", "injection", /an attribute onclick/],
  ["a style", "<p style='color: red'>x</p>", "clean", /style-src/],
  ["a style", "<p style='color: red'>x</p>", "html", /no-inline-style/],
  ["a style", "<p style='color: red'>x</p>", "injection", /an attribute style/],
  ["a script of elsewhere", "<script src='http://a.example/x.js'></script>", "clean", /script-src/],
  ["an error", "<script src='/error.js'></script>", "clean", /an exception: .*broken/s],
  ["a warning", "<script src='/warning.js'></script>", "clean", /in the console: a warning/],
  ["a dialog", "<script src='/dialog.js'></script>", "clean", /a dialog: hello/],
  ["a window", "<script src='/window.js'></script>", "clean", /a window/],
  ["a call", "<script src='/call.js'></script>", "clean", /connect-src/],
  ["a frame", "<iframe src='/x' title='x'></iframe>", "clean", /frame-src|default-src/],
  ["a mark that a script leaves", "<script src='/pwned.js'></script>", "injection", /a script ran/],
  ["an attribute broken out of", `<input aria-label="x" value="" data-pwned="">`, "injection", /become markup/],
  ["an address with a script", "<a href='javascript:alert(1)'>x</a>", "injection", /leads to elsewhere/],
  ["an address with data", "<a href='data:text/html,x'>x</a>", "injection", /leads to elsewhere/],
  ["an address that tells where from", "<a href='https://a.example/'>x</a>", "injection", /leads to elsewhere/],
  ["a form that sends to elsewhere", "<form action='https://a.example/'><button>x</button></form>", "injection", /leads to elsewhere/],
  ["text that turns its surroundings", "<p>Some <b>\u202etext</b> around.</p>", "injection", /apart/],
  ["what is too wide", "<pre>" + "x".repeat(2000) + "</pre>", "overflow", /wide in a window of/],
  ["rows that don't stack", "<div><table class='stacks'><tbody><tr><td>" + "x".repeat(2000) + "</td></tr></tbody></table></div>", "phone", /a table moves sideways/],
  ["a picture without words", "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA='>", "axe", /image-alt/],
  ["an element that isn't closed", "<p><b>x</p>", "html", /close-order/],
  ["an id twice", "<p id='a'>x</p><p id='a'>y</p>", "html", /no-dup-id/],
  ["an input in no form that has no label", "<input name='a' type='text'>", "html", /input-missing-label/],
];

const scripts = {
  "/error.js": "throw new Error('broken')",
  "/warning.js": "console.warn('a warning')",
  "/dialog.js": "alert('hello')",
  "/window.js": "open('/x')",
  "/call.js": "fetch('http://a.example/').catch(() => {})",
  "/pwned.js": "window.__pwned = 1",
  "/x": page("<p>x</p>"),
  "/icon.js": "",
};

const pages = { ...scripts };
for (const [number, [, content, , , head]] of cases.entries()) pages[`/${number}`] = page(content, head);
const site = await startSite(pages, { "Content-Security-Policy": policy });
await withBrowser([site.host], async (browser) => {
  for (const [number, [name, , eye, said]] of cases.entries()) {
    const visitor = await browser.visitor(site.origin);
    const answer = await visitor.open(`/${number}`);
    const eyes = {
      html: async () => htmlFaults(await answer.text()),
      axe: () => axeFaults(visitor.page),
      phone: async () => {
        await visitor.size(390);
        return overflowFaults(visitor.page);
      },
      overflow: () => overflowFaults(visitor.page),
      injection: () => injectionFaults(visitor.page, site.origin),
      clean: async () => {
        await new Promise((done) => setTimeout(done, 150));
        return visitor.clean().then(
          () => [],
          (error) => [error.message],
        );
      },
    };
    const faults = (await eyes[eye]()).join("\n");
    if (said === null) assert.equal(faults, "", `${name}, ${eye}`);
    else assert.match(faults, said, `${name}, ${eye}`);
    await visitor.leave();
    // Whatever is said by those who are leaving is no fault of the next.
    browser.proxy.refused();
  }
  // Where no policy is in the way, the network itself is asked.
  const lax = await startSite({ "/": page("<img src='http://a.example/x.png' alt=''>"), "/icon.js": "" });
  browser.allow(lax.host);
  const visitor = await browser.visitor(lax.origin);
  await visitor.open("/");
  assert.deepEqual(browser.proxy.refused(), ["GET http://a.example/x.png"]);
  lax.stop();
});
site.stop();
console.log(`${cases.length} faults and pages without were told from each other`);
