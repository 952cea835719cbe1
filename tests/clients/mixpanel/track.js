// Sends the JSON of standard input as the mixpanel package encodes it: track.js PORT TOKEN KIND
const mixpanel = require("mixpanel");
const { readFileSync } = require("node:fs");

const [port, token, kind] = process.argv.slice(2);
// The package puts its own `?ip=0&verbose=0&data=` behind the path; `x` takes the first of it.
const path = `/v1/${kind}/track?api_token=${token}&x=`;
const client = mixpanel.init("unused", { host: "127.0.0.1", port, protocol: "http", path, keepAlive: false });
const data = JSON.parse(readFileSync(0));
// It takes any answer but `1` for an error, and puts the answer's body into it.
client.send_request({ method: "get", endpoint: "", data }, (error) => {
  console.log(error.message);
  process.exit();
});
