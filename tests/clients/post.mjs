// Posts the JSON of standard input with fetch: post.mjs SERVER TOKEN KIND WAY
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const [server, token, kind, way] = process.argv.slice(2);
const json = readFileSync(0);
const url = `${server}/v1/${kind}/track?api_token=${token}`;
const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
const answer = await {
  form: () => fetch(`${server}/v1/${kind}/track`, {
    method: "POST", body: new URLSearchParams({ api_token: token, data: json.toString("base64") }),
  }),
  json: () => fetch(`${server}/v1/${kind}/track`, { method: "POST", headers, body: json }),
  text: () => fetch(url, { method: "POST", body: json.toString() }),
  gzip: () => fetch(url, {
    method: "POST", headers: { ...headers, "Content-Encoding": "gzip" }, body: gzipSync(json),
  }),
  // Its length isn't known beforehand, so it goes in chunks.
  stream: () => fetch(url, { method: "POST", headers, body: new Blob([json]).stream(), duplex: "half" }),
}[way]();
console.log(await answer.text());
process.exitCode = answer.ok ? 0 : 1;
