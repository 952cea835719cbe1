// The way of somebody new: from the link that `serve` prints to signing out, with and without JavaScript.

import assert from "node:assert/strict";
import { withBrowser } from "./browser.mjs";
import { axeFaults, htmlFaults, overflowFaults } from "./checks.mjs";
import { comeByLink, host, known, signIn, signOut } from "./people.mjs";
import { startSite } from "./site.mjs";

const { origin, link, javascript, user } = await known();
const somebody = { email: "anna@example.com", password: "four words nobody knows" };
const steps = [];

// A browser that doesn't tell that nobody sits in front of it, for such are left out of counts.
const AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
const HINTS = {
  brands: [{ brand: "Google Chrome", version: "142" }],
  platform: "Linux",
  platformVersion: "6.1",
  architecture: "x86",
  model: "",
  mobile: false,
};

await withBrowser([host(origin)], async (browser) => {
  const visitor = await browser.visitor(origin, { javascript });
  const { page } = visitor;
  if (javascript) await visitor.context.overridePermissions(origin, ["clipboard-read", "clipboard-write", "clipboard-sanitized-write"]);

  /// Each step ends on a page that is right, and left no fault behind.
  const step = async (what, run) => {
    try {
      await run();
      if (javascript) {
        const faults = [...(await axeFaults(page)), ...(await overflowFaults(page))];
        assert.equal(faults.join("\n"), "");
      }
      await visitor.clean();
      steps.push(what);
    } catch (error) {
      error.message = `${what} (at ${visitor.path}): ${error.message}\n${(await visitor.text()).slice(0, 2000)}`;
      throw error;
    }
  };
  const says = async (pattern) => assert.match(await visitor.text(), pattern);
  const saysNot = async (pattern) => assert.doesNotMatch(await visitor.text(), pattern);
  /// A page by its name in the navigation.
  const goTo = async (name) => {
    const answer = await visitor.follow(name);
    assert.equal(answer.status(), 200, name);
    assert.deepEqual((await htmlFaults(await answer.text())).join("\n"), "", name);
  };
  const codeIn = (selector) => page.$eval(`${selector} code`, (code) => code.textContent);
  const token = () => codeIn("section[aria-labelledby=token]");
  /// Tracks with a token, from here, and gives the status.
  const track = async (token, event) => {
    const answer = await fetch(`${origin}/v1/events/track?api_token=${token}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(event),
    });
    return answer.status;
  };

  await step("the link leads to an e-mail and a password, and on", async () => {
    await comeByLink(visitor, link, somebody);
    assert.match(visitor.path, /^\/accounts\/1\//);
  });
  await step("the link is used up", async () => {
    const late = await browser.visitor(origin, { javascript });
    const answer = await late.open(link);
    assert.equal(answer.status(), 404);
    assert.match(await late.text(), /used already/);
    await late.leave();
  });

  let first;
  let pixel;
  await step("the profile shows the token and the pixel", async () => {
    await goTo("Profile");
    first = await token();
    assert.match(first, /^[0-9a-f]{32}$/);
    await visitor.unfold("Pixel");
    pixel = await codeIn("details#pixel");
    assert.ok(pixel.includes(first) && pixel.includes(`${origin}/v1/events/track`), pixel);
    if (javascript) {
      const button = await page.$("details#pixel [data-copy]");
      await button.click();
      await page.waitForFunction(() => document.querySelector("details#pixel [data-copy]").textContent.startsWith("Copied"));
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), pixel);
    } else {
      const shown = await page.$$eval("[data-copy]", (all) => all.filter((one) => one.checkVisibility()).length);
      assert.equal(shown, 0, "a button that does nothing isn't shown");
    }
  });

  // The pixel as it was copied, on a page of another origin, in another browser.
  const site = await startSite({
    "/welcome": `<!doctype html><html lang="en"><title>Welcome</title><link rel="icon" href="data:,"><body><h1>Welcome</h1>\n${pixel}\n</body></html>`,
  });
  browser.allow(site.host);
  const reader = await browser.visitor(origin);
  await reader.page.setUserAgent(AGENT, HINTS);
  const read = () =>
    reader.expecting(/a request to elsewhere: GET http:\/\/127\.0\.0\.1/, async () => {
      await reader.open(`${site.origin}/welcome`);
      const width = await reader.page.$eval("img", (image) => image.naturalWidth);
      assert.equal(width, 1, "the picture came");
    });

  await step("a page of another site has the pixel; the event is on the overview", async () => {
    await read();
    await reader.clean();
    await goTo("Overview");
    await says(/page view/);
    await says(/\/welcome/);
  });
  await step("it arrives live", async () => {
    await goTo("Live");
    const views = () => page.$$eval("tbody tr", (rows) => rows.filter((row) => row.textContent.includes("page view")).length);
    assert.equal(await views(), 1);
    await read();
    if (javascript) {
      await page.waitForFunction(() => [...document.querySelectorAll("tbody tr")].filter((row) => row.textContent.includes("page view")).length === 2);
      // Who listens is told how many came, and isn't read the list.
      assert.equal(await page.$eval("[role=status]", (line) => line.textContent), "1 new event.");
      assert.equal(await page.$$eval("[data-poll] :is([aria-live], [role=status])", (all) => all.length), 0);
    } else {
      await visitor.follow("Reload");
    }
    assert.equal(await views(), 2);
  });
  await step("a test event arrives", async () => {
    await goTo("Profile");
    await visitor.follow("Send a test event");
    await says(/Your test event has arrived/);
    await visitor.going(() => page.click("section[aria-labelledby=test] a[href]"));
    await says(/test/);
  });

  await step("an attribute is set to another type, and values from before are read so", async () => {
    for (const price of ["12.50", "7", "n/a"]) assert.equal(await track(first, { type: "purchase", price }), 200);
    const readAs = async () => {
      await goTo("Events");
      const newest = await page.$$eval("tbody tr", (rows) => rows.find((row) => row.textContent.includes("12.50") || row.textContent.includes("12.5"))?.querySelector("a").href);
      await visitor.open(newest);
      return page.$$eval("section[aria-labelledby=read] tbody tr", (rows) => rows.find((row) => row.textContent.includes("price")).innerText.replace(/\s+/g, " "));
    };
    const before = await readAs();
    assert.match(before, /String/);
    await goTo("Data types");
    await visitor.follow("price");
    await visitor.follow("Number");
    // A preview: nothing is changed yet.
    await says(/doesn't convert/);
    assert.match(await readAs(), /String/);
    await goTo("Data types");
    await visitor.follow("price");
    await visitor.follow("Number");
    await visitor.follow("Read it as Number from now on");
    const after = await readAs();
    assert.match(after, /Number/);
    assert.notEqual(after, before);
    await goTo("Data types");
    await visitor.follow("price");
    await visitor.follow("Take the type back");
    assert.equal(await readAs(), before);
  });

  await step("the token is replaced, and the old one lives on as long as was chosen", async () => {
    const replace = async (keep) => {
      await goTo("Profile");
      await visitor.unfold("Replace the token");
      await visitor.choose("The present token is taken", keep);
      await visitor.follow("Replace the token");
      await says(/new token/);
      return token();
    };
    const second = await replace("for an hour");
    assert.notEqual(second, first);
    await says(new RegExp(first));
    assert.deepEqual([await track(first, { type: "late" }), await track(second, { type: "new" })], [200, 200]);
    const third = await replace("not at all");
    assert.equal(await track(second, { type: "late" }), 401);
    assert.equal(await track(third, { type: "new" }), 200);
    first = third;
  });

  await step("a user is erased by typing the id", async () => {
    assert.equal(await track(first, { type: "of a user", user_id: user }), 200);
    await goTo("Users");
    await visitor.follow(user);
    await says(/of a user/);
    await visitor.follow("Erase");
    await visitor.fill("To go on, type", `${user}x`);
    if (javascript) {
      const disabled = await page.$eval("[data-confirm]", (input) => input.form.querySelector(".danger").disabled);
      assert.ok(disabled, "the button waits for the whole id");
    } else {
      await visitor.expecting(/status of 4/, () => visitor.follow("Erase for good"));
      await says(new RegExp(user));
    }
    await visitor.fill("To go on, type", user);
    await visitor.follow("Erase for good");
    await goTo("Users");
    await saysNot(new RegExp(user));
    await goTo("Events");
    await saysNot(/of a user/);
  });

  await step("signing out ends it, and signing in leads back", async () => {
    const overview = visitor.path;
    await signOut(visitor);
    await visitor.open(overview);
    assert.match(visitor.path, /^\/sign-in\?next=/);
    await visitor.fill("E-mail", somebody.email);
    await visitor.fill("Password", "not this one, surely");
    await visitor.expecting(/status of 403/, () => visitor.follow("Sign in"));
    await says(/don't belong together/);
    await signIn(visitor, somebody);
    assert.equal(visitor.path, overview);
    await signOut(visitor);
    await says(/signed out/i);
  });
  site.stop();
});
console.log(`${javascript ? "with" : "without"} JavaScript:\n${steps.join("\n")}`);
