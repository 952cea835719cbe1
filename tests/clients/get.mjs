// Sends the JSON of standard input with fetch: get.mjs SERVER TOKEN KIND
import { readFileSync } from "node:fs";

const [server, token, kind] = process.argv.slice(2);
const url = new URL(`${server}/v1/${kind}/track`);
url.searchParams.set("api_token", token);
url.searchParams.set("data", readFileSync(0).toString("base64"));
const answer = await fetch(url);
console.log(await answer.text());
process.exitCode = answer.ok ? 0 : 1;
