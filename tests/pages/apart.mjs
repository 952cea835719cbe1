// Two accounts, each with a person of its own: nothing of the other is on any page, and no address leads to it.

import { withBrowser } from "./browser.mjs";
import { demandNone } from "./checks.mjs";
import { comeByLink, host, known } from "./people.mjs";

// `sides`: of each account its link, places, and the marks by which it would be known: types, users, tokens, names.
const { origin, sides } = await known();
const faults = [];
let looked = 0;
let turnedAway = 0;

await withBrowser([host(origin)], async (browser) => {
  const visitors = [];
  for (const { link, email } of sides) {
    const visitor = await browser.visitor(origin);
    await comeByLink(visitor, link, { email, password: "four words nobody knows" });
    visitors.push(visitor);
  }
  for (const [side, visitor] of visitors.entries()) {
    const other = sides[1 - side];
    const own = new Set();
    const look = async (path, status) => {
      const answer = await visitor.open(path);
      const found = [await answer.text(), JSON.stringify(answer.headers()), await visitor.html()];
      if (!status.includes(answer.status())) faults.push(`${path}: status ${answer.status()}`);
      for (const mark of other.marks) {
        if (found.some((text) => text.includes(mark))) faults.push(`${path}: it has the other's ${mark}`);
      }
      for (const mark of sides[side].marks) if (found[0].includes(mark)) own.add(mark);
      looked += 1;
    };
    await visitor.expecting(/status of 4(00|22)/, async () => {
      for (const place of sides[side].places.filter(({ kind }) => kind === "Page" || kind === "Elsewhere")) {
        await look(place.path, [place.status]);
      }
    });
    // It can be told by its marks: so could the other's.
    const unseen = sides[side].marks.filter((mark) => !own.has(mark));
    if (unseen.length > 0) faults.push(`nowhere among its own pages: ${unseen}`);
    await visitor.clean();
    await visitor.expecting(/status of 404/, async () => {
      for (const place of other.places.filter(({ access }) => access === "Member")) {
        await look(place.path, [404]);
        turnedAway += 1;
      }
    });
  }
});
console.log(`${looked} pages looked at, ${turnedAway} times turned away`);
demandNone(faults);
