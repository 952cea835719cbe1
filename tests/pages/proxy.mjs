// Every request of the browser, as its network sees them: also those that a page's own tools don't tell of, such as
// icons, connections opened ahead of time, and what the browser fetches by itself.
//
// A proxy that forwards to the hosts it was given, refuses all others, and keeps what was asked for.

import http from "node:http";

// What Chromium asks of its makers by itself, whatever it is told. It is refused as well; a page that asked for it
// would be seen to by the page's own events.
const OWN = /(^|\.)(google\.com|googleapis\.com|gvt1\.com|gstatic\.com)$/;

export async function startProxy(allowed) {
  const hosts = new Set(allowed);
  const refused = [];
  const refuse = (host, what) => {
    if (!OWN.test(host.replace(/:\d+$/, ""))) refused.push(what);
  };
  // As much as a server may be asked with.
  const server = http.createServer({ maxHeaderSize: 256 * 1024 }, (request, response) => {
    let url;
    try {
      url = new URL(request.url);
    } catch {
      url = new URL(`http://${request.headers.host ?? "unknown.invalid"}${request.url}`);
    }
    if (!hosts.has(url.host)) {
      refuse(url.host, `${request.method} ${request.url}`);
      response.writeHead(502).end();
      return;
    }
    const headers = { ...request.headers };
    delete headers["proxy-connection"];
    const path = url.pathname + url.search;
    const onward = http.request(
      { host: url.hostname, port: url.port || 80, method: request.method, path, headers, agent: false },
      (answer) => {
        response.writeHead(answer.statusCode, answer.rawHeaders);
        answer.pipe(response);
      },
    );
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  server.on("connect", (request, socket) => {
    refuse(request.url, `CONNECT ${request.url}`);
    socket.on("error", () => {});
    socket.end("HTTP/1.1 502 No\r\n\r\n");
  });
  server.on("clientError", (_, socket) => socket.destroy());
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    address: `127.0.0.1:${server.address().port}`,
    allow: (host) => hosts.add(host),
    // What was asked of others since this was asked last.
    refused: () => refused.splice(0),
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
