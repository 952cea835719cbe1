// A small site of its own: pages by path, as text or made for each request.

import http from "node:http";

export async function startSite(pages, headers = {}) {
  const asked = [];
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://site");
    const page = pages[pathname];
    asked.push(`${request.method} ${request.url}`);
    const type = pathname.endsWith(".js") ? "text/javascript" : "text/html";
    response.writeHead(page === undefined ? 404 : 200, { "Content-Type": `${type}; charset=utf-8`, ...headers });
    response.end(typeof page === "function" ? page(request) : (page ?? "none"));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const host = `127.0.0.1:${server.address().port}`;
  return {
    host,
    origin: `http://${host}`,
    asked,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
