// Sends the list of standard input as the mixpanel package sends batches: batch.js PORT TOKEN KIND
const mixpanel = require("mixpanel");
const { readFileSync } = require("node:fs");

const [port, token, kind] = process.argv.slice(2);
// The package puts `/track` or `/import` and its own query behind the path; `x` takes the first of it.
const path = `/v1/${kind}/track?api_token=${token}&x=`;
const options = { host: "127.0.0.1", port, protocol: "http", path, keepAlive: false, key: "unused" };
const client = mixpanel.init("unused", options);
// What it knows of an event are these two; whatever else is there it sends as it is.
const list = JSON.parse(readFileSync(0)).map((one) => ({ ...one, event: "e", properties: { time: 1 } }));
const half = list.length / 2;
// It takes any answer but `1` for an error, and puts the answer's body into it.
const tell = (errors) => errors.forEach((error) => console.log(error.message));
client.track_batch(list.slice(0, half), (errors) => {
  tell(errors);
  client.import_batch(list.slice(half), (errors) => {
    tell(errors);
    process.exit();
  });
});
