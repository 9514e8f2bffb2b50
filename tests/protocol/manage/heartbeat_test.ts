import assert from "node:assert/strict";
import { Heartbeat } from "../../../src/protocol/manage/heartbeat.ts";

Deno.test("Heartbeat.look() asks after 10 s of silence and gives the link up after 10 s more", () => {
  const heartbeat = new Heartbeat("dialler", 1_000);
  assert.equal(heartbeat.deadlineMs, 11_000);
  assert.equal(heartbeat.look(10_999), "alive");
  assert.equal(heartbeat.look(11_000), "ask");
  assert.equal(heartbeat.deadlineMs, 21_000);
  assert.equal(heartbeat.look(20_999), "alive");
  assert.equal(heartbeat.look(21_000), "dead");
});

Deno.test("Heartbeat.look() counts anything that is heard as an answer", () => {
  const heartbeat = new Heartbeat("dialler", 0);
  assert.equal(heartbeat.look(10_000), "ask");
  heartbeat.heard(19_999);
  assert.equal(heartbeat.look(20_000), "ask", "it has said nothing since it asked");
  heartbeat.heard(20_001);
  assert.equal(heartbeat.deadlineMs, 30_000);
});

Deno.test("Heartbeat.look() of a dialler asks for nothing while bytes go both ways", () => {
  const heartbeat = new Heartbeat("dialler", 0);
  for (let nowMs = 9_000; nowMs < 100_000; nowMs += 9_000) {
    assert.equal(heartbeat.look(nowMs), "alive");
    heartbeat.heard(nowMs);
    heartbeat.said(nowMs);
  }
});

Deno.test("Heartbeat.look() of a dialler gives a sign of life when it only listens, and when it only speaks", () => {
  const listens = new Heartbeat("dialler", 0);
  listens.heard(9_000);
  assert.equal(listens.look(10_000), "ask");
  const speaks = new Heartbeat("dialler", 0);
  speaks.said(9_000);
  assert.equal(speaks.look(10_000), "ask");
  speaks.said(19_000);
  assert.equal(speaks.look(20_000), "dead");
});

Deno.test("Heartbeat.look() of a server asks nothing, and gives the link up after 20 s of silence", () => {
  const heartbeat = new Heartbeat("server", 0);
  heartbeat.said(15_000);
  assert.equal(heartbeat.look(19_999), "alive");
  assert.equal(heartbeat.look(20_000), "dead");
  heartbeat.heard(19_000);
  assert.equal(heartbeat.deadlineMs, 39_000);
});

Deno.test("Heartbeat.look() asks once more when the program slept, since what was sent to it may wait to be read", () => {
  const dialler = new Heartbeat("dialler", 0);
  assert.equal(dialler.look(10_000), "ask");
  assert.equal(dialler.look(60_000), "ask");
  assert.equal(dialler.look(69_999), "alive");
  assert.equal(dialler.look(70_000), "dead");
  const server = new Heartbeat("server", 0);
  assert.equal(server.look(60_000), "alive");
  assert.equal(server.deadlineMs, 70_000);
  assert.equal(server.look(70_000), "dead");
});
