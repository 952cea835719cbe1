// Each page of the table of routes: in both themes and all widths, as a picture, by axe, by a validator of HTML, by what
// it asks of whom, by its policy.

import fs from "node:fs";
import path from "node:path";
import { withBrowser } from "./browser.mjs";
import { axeFaults, demandNone, htmlFaults, injectionFaults, overflowFaults } from "./checks.mjs";
import { comeByLink, host, known } from "./people.mjs";

const WIDTHS = [320, 390, 768, 1280, 1920];
// Width and theme of the pictures; what axe finds may depend on both.
const PICTURES = [
  ["light", 1280],
  ["dark", 1280],
  ["light", 390],
  ["dark", 390],
];

// What each page has to say in its head.
const HEADERS = {
  "content-security-policy": /^default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/,
  "x-content-type-options": /^nosniff$/,
  "referrer-policy": /^(no-referrer|same-origin)$/,
  "cache-control": /no-store/,
  "content-type": /^text\/html; charset=utf-8$/i,
};

const { origin, link, places, pictures } = await known();
if (pictures) fs.mkdirSync(pictures, { recursive: true });

const faults = [];
const sizes = [];
let seen = 0;

async function look(visitor, place, name) {
  const say = (all) => faults.push(...all.map((fault) => `${place.path}: ${fault}`));
  visitor.bytes.clear();
  await visitor.size(1280);
  await visitor.scheme("light");
  const answer = await visitor.open(place.path);
  if (answer.status() !== place.status) say([`status ${answer.status()}`]);
  if (place.kind === "Page" && visitor.path !== place.path) say([`it leads to ${visitor.path}`]);
  for (const [header, expected] of Object.entries(HEADERS)) {
    const value = answer.headers()[header] ?? "";
    if (!expected.test(value)) say([`${header}: ${value || "none"}`]);
  }
  const html = await answer.text();
  say(await htmlFaults(html));
  say(await injectionFaults(visitor.page, origin));
  const bytes = [...visitor.bytes.values()].reduce((sum, one) => sum + one.bytes, 0);
  sizes.push(`${String(bytes).padStart(8)} ${place.path}`);
  for (const width of WIDTHS) {
    await visitor.size(width);
    say((await overflowFaults(visitor.page)).map((fault) => `at ${width}: ${fault}`));
  }
  const found = new Map();
  for (const [scheme, width] of PICTURES) {
    await visitor.scheme(scheme);
    await visitor.size(width);
    for (const fault of await axeFaults(visitor.page)) {
      if (!found.has(fault)) found.set(fault, []);
      found.get(fault).push(`${scheme} ${width}`);
    }
    if (pictures) {
      await visitor.page.screenshot({ path: path.join(pictures, `${name}-${scheme}-${width}.png`), fullPage: true });
    }
  }
  say([...found].map(([fault, where]) => `${where.join(", ")}: ${fault}`));
  await visitor.clean().catch((error) => say([error.message]));
  seen += 1;
}

const named = (place) => place.path.replace(/\?(.*)$/, (_, query) => `-${query.slice(0, 40)}`).replace(/[^a-zA-Z0-9]+/g, "-").replace(/^-|-$/g, "") || "home";

await withBrowser([host(origin)], async (browser) => {
  const nobody = await browser.visitor(origin);
  const somebody = await browser.visitor(origin);
  await comeByLink(somebody, link, { email: "anna@example.com", password: "four words nobody knows" });
  await somebody.clean();
  await nobody.open("/sign-in");
  // Whatever can be seen by everyone is seen by nobody in particular; the rest by who is signed in.
  for (const place of places) {
    if (place.kind === "Stream") continue;
    const visitor = place.access === "Everyone" && place.pattern !== "/" ? nobody : somebody;
    if (place.kind === "File") {
      const status = await visitor.page.evaluate(async (url) => (await fetch(url)).status, origin + place.path);
      if (status !== 200) faults.push(`${place.path}: status ${status}`);
      continue;
    }
    const work = () => look(visitor, place, named(place));
    // The console tells of any status that isn't one of success.
    const lookAt = place.status === 200 ? work : () => visitor.expecting(new RegExp(`status of ${place.status}`), work);
    await lookAt().catch((error) => faults.push(`${place.path}: ${error.stack}`));
  }
  // What nobody finds.
  const nothing = { path: "/nothing/here", kind: "Page", status: 404 };
  await somebody.expecting(/status of 404/, () => look(somebody, nothing, "nothing")).catch((error) => faults.push(error.stack));
});
console.log(sizes.sort().reverse().join("\n"));
console.log(`${seen} pages`);
demandNone(faults);
