/** What the doctors read of files and programs that others write. */
import assert from "node:assert/strict";
import { noRefusals, REFUSAL_REASONS } from "../../../src/server/knock/refusal.ts";
import { renderStatus, type StatusSnapshot } from "../../../src/server/knock/status.ts";
import { runChecks } from "../../../src/setup/doctor/finding.ts";
import { refusalWords } from "../../../src/setup/doctor/refusal_words.ts";
import { parseStatus } from "../../../src/setup/doctor/status_view.ts";
import { systemMachine } from "../../../src/setup/doctor/system_machine.ts";
import { parseUdpSockets } from "../../../src/setup/doctor/udp_sockets.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

const NOW_MS = Date.parse("2026-11-21T12:00:00Z");

const SNAPSHOT: StatusSnapshot = {
  nowMs: NOW_MS,
  startedAtMs: NOW_MS - 5000,
  address: "[::]:34020",
  received: 31,
  receiveErrors: 2,
  refused: { ...noRefusals(), replayed: 12, source: 1 },
  accepted: 7,
  forwarded: 6,
  forwardFailures: 1,
  queueDepth: 3,
  uncommitted: 0,
  held: 0,
  contested: true,
  floorWrites: 9,
  floorWriteFailures: 4,
  floorsDurable: false,
  floorAgeSeconds: new Map([["user", 1.5]]),
  lastReload: { atMs: NOW_MS, error: 'config.toml:3: "x"\nno \\ good' },
  restartNeeded: ["address"],
};

Deno.test("parseStatus() reads what the server writes, in either format", () => {
  const json = parseStatus("s.json", renderStatus("s.json", SNAPSHOT));
  const text = parseStatus("s.prom", renderStatus("s.prom", SNAPSHOT));
  assert.equal(json?.address, "[::]:34020");
  assert.deepEqual(json?.restartNeeded, ["address"]);
  assert.equal(json?.refused.get("replayed"), 12);
  assert.equal(json?.floorsDurable, false);
  assert.equal(json?.reloadError, SNAPSHOT.lastReload?.error);
  // What the text format does not hold is all that differs.
  assert.deepEqual({ ...text, address: "[::]:34020", restartNeeded: ["address"] }, json);
});

Deno.test("parseStatus() gives null for anything else", () => {
  const good = JSON.parse(renderStatus("s.json", SNAPSHOT));
  for (
    const change of [{ time: "yesterday" }, { refused: { replayed: "12" } }, { received: null }, {
      refused: "none",
    }]
  ) {
    assert.equal(parseStatus("s.json", JSON.stringify({ ...good, ...change })), null, JSON.stringify(change));
  }
  for (const text of ["", "[]", "null", "{", '"x"']) assert.equal(parseStatus("s.json", text), null, text);
  for (const text of ["", "postern_knock_received_total 3\n", "postern_knock_status_timestamp_seconds x\n"]) {
    assert.equal(parseStatus("s.prom", text), null, text);
  }
});

Deno.test("refusalWords() has words and a next step for each reason, and owns to not knowing another", () => {
  for (const reason of REFUSAL_REASONS) {
    const { what, fix } = refusalWords(reason, 1);
    assert.match(what, new RegExp(`^1 packet refused \\(${reason}\\): .{10}`));
    assert(fix.length > 10, reason);
  }
  assert.equal(refusalWords("constructor", 2).isKnown, false);
});

Deno.test("parseUdpSockets() reads what ss prints, and nothing from noise", () => {
  const text =
    'UNCONN 0 0 *:34020 *:* users:(("deno",pid=7,fd=21),("deno",pid=8,fd=21)) uid:998 ino:3 sk:2 v6only:0 <->\n' +
    "\t skmem:(r0,rb212992,t0,tb212992,f0,w0,o0,bl0,d5)\n" +
    "UNCONN 0 0 [fe80::1]%eth0:34020 [::]:* ino:4 sk:3 <->\n\t skmem:(r0)\n";
  assert.deepEqual(parseUdpSockets(text), [
    { host: "*", processes: "deno (pid 7), deno (pid 8)", uid: 998, bufferBytes: 212_992, drops: 5 },
    { host: "[fe80::1]%eth0", processes: "", uid: 0, bufferBytes: null, drops: null },
  ]);
  for (const noise of ["", "\n", "Cannot open netlink socket\n"]) {
    assert.deepEqual(parseUdpSockets(noise), []);
  }
});

Deno.test("runChecks() tells a check that breaks as not checked, and runs the others", async () => {
  const findings = await runChecks([
    { name: "broken", run: () => Promise.reject(new TypeError("boom\u001b[2J")) },
    {
      name: "denied",
      run: () => Promise.reject(new Error("x", { cause: new Deno.errors.PermissionDenied("no") })),
    },
    { name: "long", run: () => [{ state: "ok", what: "x".repeat(10_000), fix: null }] },
  ]);
  assert.deepEqual(findings.map(({ state }) => state), ["not checked", "not checked", "ok"]);
  assert.match(findings[0]?.what ?? "", /boom\\u001b\[2J/);
  assert.equal(findings[1]?.fix, "run it as root");
  assert.equal(findings[2]?.what.length, 1000);
});

Deno.test("a pipe in the place of a file holds no doctor up", { timeout: 5000 }, async () => {
  await using folder = await TempFolder.make("doctor");
  const path = `${folder.path}/status.json`;
  assert((await new Deno.Command("mkfifo", { args: [path] }).output()).success);
  await assert.rejects(systemMachine.read(path, 10), /no regular file/);
  await assert.rejects(systemMachine.isLocked(path), /no regular file/);
});

Deno.test("the real machine says null for what is not there, and false for a lock that nobody holds", async () => {
  await using folder = await TempFolder.make("doctor");
  const path = `${folder.path}/lock`;
  assert.equal(await systemMachine.stat(`${path}/below`), null);
  assert.equal(await systemMachine.isLocked(path), null);
  assert.equal(await systemMachine.run(["/nonexistent/program"], []), null);
  assert.equal(await systemMachine.connectUnix(path), "missing");
  await Deno.writeTextFile(path, "abc");
  assert.equal(await systemMachine.isLocked(path), false);
  using file = await Deno.open(path, { read: true, write: true });
  await file.lock(true);
  assert.equal(await systemMachine.isLocked(path), true);
  assert.equal(new TextDecoder().decode(await systemMachine.read(path, 2) ?? new Uint8Array()), "ab");
});
