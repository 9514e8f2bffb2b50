import assert from "node:assert/strict";
import { SessionWindows } from "../../../src/server/manage/session_windows.ts";

const MIB = 1024 * 1024;

Deno.test("SessionWindows bounds what all sessions of one administrator can hold, and no other's", () => {
  const windows = new SessionWindows();
  let bytes = 0;
  for (let count = 0; count < 1024; count++) bytes += windows.enter("alice");
  assert.equal(bytes, 112 * MIB);
  assert.throws(() => windows.enter("alice"), { code: "exhausted" });
  assert.equal(windows.enter("bob"), MIB);
  windows.leave("alice");
  assert.equal(windows.enter("alice"), 64 * 1024);
});

Deno.test("SessionWindows gives whole windows again once sessions are over", () => {
  const windows = new SessionWindows();
  for (let count = 0; count < 40; count++) windows.enter("alice");
  assert.equal(windows.enter("alice"), MIB / 4);
  for (let count = 0; count < 41; count++) windows.leave("alice");
  windows.leave("alice");
  assert.equal(windows.enter("alice"), MIB);
});
