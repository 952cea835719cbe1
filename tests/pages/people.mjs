// How people get in and out.

import assert from "node:assert/strict";

// What went wrong, without what the machine says beside it.
process.on("uncaughtException", (error) => {
  console.error(error.code === "ERR_ASSERTION" ? error.message : error.stack);
  process.exit(1);
});

/// What the test that started this script has it know.
export async function known() {
  let text = "";
  for await (const piece of process.stdin) text += piece;
  return JSON.parse(text);
}

export const host = (origin) => new URL(origin).host;

/// Comes by a one-time link and chooses how to sign in.
export async function comeByLink(visitor, link, { email, password }) {
  await visitor.open(link);
  await visitor.fill("E-mail", email);
  await visitor.fill("Password", password);
  const answer = await visitor.follow("Go on");
  assert.equal(answer.status(), 200, await visitor.text());
}

export async function signIn(visitor, { email, password }) {
  if (!visitor.path.includes("/sign-in")) await visitor.open("/sign-in");
  await visitor.fill("E-mail", email);
  await visitor.fill("Password", password);
  const answer = await visitor.follow("Sign in");
  assert.equal(answer.status(), 200, await visitor.text());
}

export async function signOut(visitor) {
  await visitor.follow("Sign out");
  assert.match(visitor.path, /\/sign-in|^\/$/);
}
