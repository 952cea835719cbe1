// triggerly's script for pages: counts page views, and sends what the page tracks.
//
//   <script async src="https://HOST/t.js" data-token="TOKEN"></script>
//
//   triggerly.track("sign-up", { plan: "pro" })   an event; attributes may be left out
//   triggerly.user("u1", { name: "Zoë" })         a user, who is the `user_id` of later events
//   triggerly.user(null)                          nobody any more, after signing out
//
// What else the element can say:
//
//   data-auto="off"       no page views but those that the page tracks itself
//   data-query="p lang"   parameters of the query that make another page; others aren't sent
//   data-respect-opt-out  nothing is sent for who asks not to be tracked (GPC, DNT)
//
// Keeps nothing in the browser: no cookie, no storage. Throws nothing into the page: what goes wrong is a
// warning on the console. It is served without lines of comments and indentation (src/web/tag.rs).
{
  const safely = (work) => (...given) => {
    try {
      work(...given);
    } catch (error) {
      console.warn(error);
    }
  };

  safely(() => {
    const { src, dataset } = document.currentScript;
    // Calls made before this script was there. If there is no list of them, it has run already: pages that
    // are swapped by scripts run it again.
    const { q } = window.triggerly || { q: [] };
    if (!q) return;

    const silent = "respectOptOut" in dataset && (navigator.globalPrivacyControl || navigator.doNotTrack == 1);
    let user_id, seen, { referrer } = document;

    const send = (kind, object) => {
      const json = JSON.stringify(object);
      const url = new URL(`v1/${kind}/track?api_token=${dataset.token}`, src);
      const post = () => {
        try {
          if (silent || navigator.sendBeacon(url, json)) return;
        } catch {}
        // There are no beacons, or not for as much. The inner two make bytes of UTF-8, which is what `btoa`
        // takes; the server understands a bare `+`.
        new Image().src = url + "&image=1&data=" + btoa(unescape(encodeURIComponent(json)));
      };
      // A page that was made ahead of time counts once somebody sees it.
      if (document.prerendering) document.addEventListener("prerenderingchange", post);
      else post();
    };

    const track = safely((type, attributes) => send("events", { user_id, ...attributes, type }));
    const user = safely((id, attributes) => {
      user_id = id;
      if (id != null) send("users", { ...attributes, id });
    });

    const view = safely(() => {
      const page = new URL(location);
      const attributes = { title: document.title, language: navigator.language, width: screen.width };
      // Queries and what stands behind `#` may hold secrets, and tell pages apart that are the same. Campaigns
      // (`utm_…`) are attributes of their own; `#/…` and `#!…` are pages.
      for (const [name, value] of [...page.searchParams]) {
        if (/^utm_/.test(name)) attributes[name] = value;
        if (!` ${dataset.query} `.includes(` ${name} `)) page.searchParams.delete(name);
      }
      page.hash = /^#[/!][^?]*|/.exec(page.hash);
      if (page.href == seen) return;
      attributes.page = seen = page.href;
      // Where the visitor came from: another site, and once.
      if (referrer && referrer.split("/")[2] != page.host) attributes.referrer = referrer.split("?")[0];
      referrer = "";
      track("page view", attributes);
    });
    // A title is often set a little later than the address.
    const later = () => setTimeout(view, 99);

    window.triggerly = { track, user };
    // Before the first page view, which so knows the user.
    for (const [name, given] of q) triggerly[name](...given);

    // What is in a frame is part of another page.
    if (dataset.auto == "off" || window != top) return;
    view();
    for (const name of ["pushState", "replaceState"]) {
      const original = history[name].bind(history);
      history[name] = (...given) => {
        original(...given);
        later();
      };
    }
    addEventListener("popstate", later);
    addEventListener("pageshow", (event) => {
      // Back at a page that the browser had kept as it was.
      if (event.persisted) {
        seen = "";
        later();
      }
    });
  })();
}
