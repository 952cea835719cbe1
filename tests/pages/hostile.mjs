// Hostile text in every place that an outsider can fill is text on each page, and nothing but text: nothing runs, nothing
// is asked of elsewhere, nothing breaks the layout.

import { withBrowser } from "./browser.mjs";
import { axeFaults, demandNone, fetchedFaults, htmlFaults, injectionFaults, overflowFaults } from "./checks.mjs";
import { comeByLink, host, known } from "./people.mjs";

// `places`: each page once, and those of each hostile event and user. `links`: to accounts with hostile names.
// `texts`: what may stand in an address.
const { origin, link, links, email, places, texts } = await known();

const faults = [];
const looked = new Set();
// Which parameters each pattern's forms and links have.
const parameters = new Map();

async function look(visitor, place) {
  const say = (all) => faults.push(...all.map((fault) => `${place.path.slice(0, 300)}: ${fault}`));
  await visitor.size(1280);
  const answer = await visitor.open(place.path);
  if (answer.status() !== place.status) say([`status ${answer.status()}`]);
  say(await injectionFaults(visitor.page, origin));
  for (const width of [1280, 390]) {
    await visitor.size(width);
    say((await overflowFaults(visitor.page)).map((fault) => `at ${width}: ${fault}`));
  }
  // What is slow is done once for each kind of page, and for a few of those of which there are many.
  const times = [...looked].filter((path) => path.startsWith(place.pattern)).length;
  if (times < 8) {
    say(await axeFaults(visitor.page));
    say(await htmlFaults(await answer.text()));
  }
  looked.add(`${place.pattern} ${place.path}`);
  const names = await visitor.page.evaluate(() => {
    const names = [...document.querySelectorAll("form[method=get] [name], form:not([method]) [name]")].map((one) => one.name);
    const here = [...document.links].filter((link) => link.pathname === location.pathname);
    return [...names, ...here.flatMap((link) => [...new URL(link.href).searchParams.keys()])];
  });
  const all = parameters.get(place.pattern) ?? { path: place.path.split("?")[0], names: new Set() };
  names.forEach((name) => all.names.add(name));
  parameters.set(place.pattern, all);
  await visitor.clean().catch((error) => say([error.message]));
}

await withBrowser([host(origin)], async (browser) => {
  const visitor = await browser.visitor(origin);
  await visitor.page.evaluateOnNewDocument(() => {
    // What a browser takes for an address is more than a name may be.
    addEventListener("DOMContentLoaded", () => document.querySelectorAll("form").forEach((form) => (form.noValidate = true)));
  });
  await comeByLink(visitor, link, { email, password: "four words nobody knows" });
  for (const more of links) {
    await visitor.open(more);
    await visitor.follow("Add it to my accounts");
  }
  for (const place of places) {
    const work = () => look(visitor, place);
    const lookAt = place.status === 200 ? work : () => visitor.expecting(new RegExp(`status of ${place.status}`), work);
    await lookAt().catch((error) => faults.push(`${place.path}: ${error.stack}`));
  }
  // All parameters of a page at once, and each for itself with what is worst.
  const statuses = {};
  await visitor.expecting(/status of 4/, async () => {
    for (const [pattern, { path, names }] of parameters) {
      const all = [...names];
      // Also those that no page has, in case one looks at them all the same.
      const every = [...new Set([...all, "next", "done", "q", "where", "cursor"])];
      const address = (names, text) => `${path}?${new URLSearchParams(names.map((name) => [name, text]))}`;
      const paths = texts.map(({ text }) => address(every, text));
      for (const { text } of texts.filter(({ worst }) => worst)) paths.push(...every.map((name) => address([name], text)));
      await visitor.open(places.find((place) => place.pattern === pattern).path);
      const found = await fetchedFaults(visitor.page, origin, paths);
      faults.push(...found.faults);
      for (const [status, count] of Object.entries(found.statuses)) statuses[status] = (statuses[status] ?? 0) + count;
    }
  });
  const asked = [...parameters].map(([pattern, { names }]) => `${pattern}: ${[...names].join(" ")}`);
  console.log(`${looked.size} pages looked at; addresses with hostile parameters, by status: ${JSON.stringify(statuses)}`);
  console.log(asked.join("\n"));
  await visitor.clean().catch((error) => faults.push(error.message));
});
demandNone(faults);
