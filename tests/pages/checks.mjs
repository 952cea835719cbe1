// What is asked of each page: no overflow, nothing that axe or a validator of HTML finds, and no trace of hostile text
// that has become more than text.

import { HtmlValidate, axe } from "./packages.mjs";

const validator = new HtmlValidate({
  root: true,
  extends: ["html-validate:recommended", "html-validate:document"],
  elements: ["html5"],
  rules: {
    // How it is written is the templates' matter: case and quotes, self-closing SVG, spaces at the end of a line.
    "attr-quotes": "off",
    "void-style": "off",
    "no-trailing-whitespace": "off",
    "doctype-style": ["error", { style: "lowercase" }],
    // Of a name that is hostile, any character may stand in an id or a class; HTML asks for no more than no space.
    "valid-id": ["error", { relaxed: true }],
    // HTML lets the end of a cell, a row or an item go without saying; what is left open by mistake is found by order.
    "no-implicit-close": "off",
    // What can be scrolled by keys is a region that isn't a section of the page's text.
    "prefer-native-element": ["error", { exclude: ["region"] }],
    // A parameter that stands in an address several times is several conditions.
    "form-dup-name": "off",
    // The policy forbids them; here they are found without a browser.
    "no-inline-style": "error",
    // A title may be long where an account's or a type's name is in it.
    "long-title": "off",
    // A button in a form sends it: that is its type by default.
    "no-implicit-button-type": "off",
    "no-implicit-input-type": "error",
    // Everything is of our own origin, and changes its name with its content.
    "require-sri": "off",
  },
});

/// Ends the script with what was found, each once, if anything was.
export function demandNone(faults) {
  const unique = [...new Set(faults)];
  if (unique.length === 0) return;
  console.error(`${unique.length} faults:\n\n${unique.slice(0, 80).join("\n\n")}`);
  process.exit(1);
}

/// Faults of HTML as the server sent it.
export async function htmlFaults(html) {
  const report = await validator.validateString(html);
  const messages = report.results.flatMap((result) => result.messages);
  const lines = html.split("\n");
  const told = messages.slice(0, 5).map(({ ruleId, message, line, column }) => {
    const at = lines[line - 1]?.slice(Math.max(0, column - 60), column + 100).trim();
    return `HTML: ${ruleId}: ${message} at ${line}:${column}: ${at}`;
  });
  if (messages.length > told.length) told.push(`HTML: and ${messages.length - told.length} more`);
  return told;
}

/// What axe finds on the page as it is shown now.
export async function axeFaults(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => ({
      id,
      help,
      nodes: nodes.slice(0, 4).map(({ html, failureSummary }) => `${html.slice(0, 200)} (${failureSummary.slice(0, 400)})`),
      count: nodes.length,
    }));
  });
  return found.map(({ id, help, nodes, count }) => `axe: ${id}: ${help}, ${count} times:\n    ${nodes.join("\n    ").replace(/\n\s*/g, "\n    ")}`);
}

/// What is wider than the page, if the page can be moved sideways; on a phone, the same of a table whose rows stack.
export async function overflowFaults(page) {
  return page.evaluate(() => {
    const root = document.documentElement;
    const width = root.clientWidth;
    const stacks = width > 640 ? [] : [...document.querySelectorAll(".stacks")].map((table) => table.parentElement);
    const moved = stacks.filter((box) => box.scrollWidth > box.clientWidth);
    if (moved.length > 0) return moved.map((box) => `a table moves sideways: ${box.scrollWidth} in ${box.clientWidth}`);
    if (root.scrollWidth <= width) return [];
    const wide = [...document.querySelectorAll("body *")].filter((one) => {
      const { right, width: own } = one.getBoundingClientRect();
      if (own === 0 || right <= width + 0.5) return false;
      // What its parent cuts or scrolls makes nothing else wider.
      for (let at = one.parentElement; at; at = at.parentElement) {
        const style = getComputedStyle(at);
        if (/auto|scroll|hidden|clip/.test(style.overflowX) && at.getBoundingClientRect().right <= width + 0.5) return false;
      }
      return true;
    });
    const told = wide.slice(-3).map((one) => one.outerHTML.slice(0, 160));
    return [`it is ${root.scrollWidth} wide in a window of ${width}: ${told.join(" … ")}`];
  });
}

/// What runs in the page: whether text has become markup in a document, shown or only parsed.
const STRUCTURE = `(document, base, origin) => {
  const faults = [];
  const cut = (one) => one.outerHTML.slice(0, 300);
  for (const one of document.querySelectorAll("[data-pwned], pwned, base, object, embed, frame, iframe, marquee, meta[http-equiv], style, script:not([src])")) {
    faults.push("it has become markup: " + cut(one));
  }
  const attributes = ["href", "src", "action", "formaction", "xlink:href", "data", "poster", "background", "srcdoc", "srcset", "ping"];
  for (const one of document.querySelectorAll("*")) {
    for (const { name, value } of one.attributes) {
      if (name.startsWith("on") || name === "style") faults.push("an attribute " + name + ": " + cut(one));
      if (!attributes.includes(name)) continue;
      let url;
      try {
        url = new URL(value, base);
      } catch {
        faults.push("no address: " + cut(one));
        continue;
      }
      if (url.origin === origin) continue;
      const rel = (one.getAttribute("rel") ?? "").split(" ");
      const sealed = one.tagName === "A" && name === "href" && /^https?:$/.test(url.protocol) && rel.includes("noreferrer") && rel.includes("noopener");
      if (!sealed) faults.push("it leads to elsewhere: " + cut(one));
    }
  }
  return faults;
}`;

/// Whether hostile text has become an element, an attribute, a script that ran, or a link to elsewhere, or turns the
/// text around it.
export async function injectionFaults(page, origin) {
  const structure = await page.evaluate(`(${STRUCTURE})(document, document.baseURI, ${JSON.stringify(origin)})`);
  const shown = await page.evaluate(() => {
    const faults = [];
    const cut = (one) => one.outerHTML.slice(0, 300);
    if ("__pwned" in window) faults.push("a script ran");
    // A mark that turns what follows must end where its text ends.
    const marks = /[\u202a-\u202e\u2066-\u2069\u200e\u200f]/;
    const inline = (one) => getComputedStyle(one).display === "inline";
    const apart = (one) => /isolate|plaintext/.test(getComputedStyle(one).unicodeBidi);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (!marks.test(node.data)) continue;
      let at = node.parentElement;
      while (inline(at) && !apart(at)) at = at.parentElement;
      if (inline(at)) continue;
      // In a block of its own it turns nothing else.
      if (at.textContent.trim() !== node.data.trim()) faults.push(`it isn't apart from the text around it: ${cut(at)}`);
    }
    return faults;
  });
  return [...new Set([...structure, ...shown])];
}

/// The same of pages that are fetched from the page that is shown, and parsed but not shown: quick enough for thousands.
/// Gives faults, each with the path, and how often which status came.
export async function fetchedFaults(page, origin, paths) {
  return page.evaluate(`(async (paths, origin) => {
    const structure = ${STRUCTURE};
    const faults = [];
    const statuses = {};
    for (const path of paths) {
      const answer = await fetch(path, { headers: { Accept: "text/html" } });
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
      if (answer.status >= 500) faults.push(path + ": status " + answer.status);
      if (!(answer.headers.get("content-type") ?? "").startsWith("text/html")) continue;
      const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
      faults.push(...structure(parsed, answer.url, origin).map((fault) => path + ": " + fault));
    }
    return { faults, statuses };
  })(${JSON.stringify(paths)}, ${JSON.stringify(origin)})`);
}
