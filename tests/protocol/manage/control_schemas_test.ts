import assert from "node:assert/strict";
import type { HostRow } from "../../../src/protocol/manage/control_contract.ts";
import * as schemas from "../../../src/protocol/manage/control_schemas.ts";
import { assertRefuses, assertStrict, assertTakes, takes } from "./schema_checks.ts";

const session = "0011223344aabbcc";
const key = new Uint8Array(32).fill(3);
const lines = `${"A".repeat(64)}\n`.repeat(9);
const pem = `-----BEGIN CERTIFICATE-----\n${lines}QUI=\n-----END CERTIFICATE-----\n`;
const row: HostRow = {
  name: "web1",
  tags: ["prod", "eu"],
  sinceMs: 1_800_000_000_000,
  online: true,
  latencyMs: 1.25,
  version: "0.1.0",
  system: "linux x86_64",
  sessions: 2,
};
const hostSession = { session, adminKey: key, action: "shell", detached: true } as const;
const registration = { version: "0.1.0", system: "linux x86_64", sessions: [hostSession], pinsGeneration: 3 };
const ended = {
  session,
  ending: "done",
  exitCode: 137,
  bytesIn: 1,
  bytesOut: 2 ** 40,
  durationMs: 5,
} as const;

Deno.test("checkRegistration takes what a host says of itself and nothing else", () => {
  assertStrict(schemas.checkRegistration, registration, [
    "it.sessions = WRONG[14]",
    "it.sessions.0.detached = WRONG[2]",
    "it.pinsGeneration = WRONG[3]",
  ]);
  const { sessions: _sessions, ...rest } = registration;
  const full = Array.from({ length: schemas.MAX_HOST_SESSIONS }, () => hostSession);
  assertTakes(schemas.checkRegistration, { ...rest, sessions: full });
  assertRefuses(schemas.checkRegistration, { ...rest, sessions: [...full, hostSession] }, "too many");
  for (const system of [" linux", "linux ", "li\u202enux", "x".repeat(65), "é"]) {
    assertRefuses(schemas.checkRegistration, { ...registration, system }, system);
  }
  for (const version of ["1 2", "x".repeat(65), "1\u0007"]) {
    assertRefuses(schemas.checkRegistration, { ...registration, version }, version);
  }
});

Deno.test("checkRegistered and checkEndOrder take ids of sessions and nothing else", () => {
  assertStrict(schemas.checkRegistered, { end: [session] }, ["it.end = WRONG[14]"]);
  assertStrict(schemas.checkEndOrder, { sessions: [session], ending: "expired" }, [
    "it.sessions = WRONG[14]",
  ]);
  for (
    const id of [session.toUpperCase(), session.slice(1), `${session}0`, "../../etc/passwd", `${session}\n`]
  ) {
    assertRefuses(schemas.checkRegistered, { end: [id] }, id);
  }
  assertRefuses(schemas.checkEndOrder, { sessions: [], ending: "done" }, "an ending that is no order");
});

Deno.test("checkEndedSession takes what ended and nothing else", () => {
  assertStrict(schemas.checkEndedSession, ended, [
    "it.exitCode = WRONG[1]",
    "it.exitCode = WRONG[3]",
    "it.bytesIn = WRONG[3]",
    "it.bytesOut = WRONG[3]",
    "it.durationMs = WRONG[3]",
  ]);
  for (const exitCode of [256, -1, 0.5]) {
    assertRefuses(schemas.checkEndedSession, { ...ended, exitCode }, `${exitCode}`);
  }
  for (const ending of ["closed", "lost", "abandoned", "revoked", "expired", "failed", "agent_stopped"]) {
    assertTakes(schemas.checkEndedSession, { ...ended, ending });
  }
});

Deno.test("checkPins takes one or two certificates and nothing around them", () => {
  assertStrict(schemas.checkPins, { caCertificates: [pem, pem], generation: 1 }, [
    "it.generation = WRONG[3]",
  ]);
  assertTakes(schemas.checkPins, { caCertificates: [pem.replaceAll("\n", "\r\n")], generation: 0 });
  const wrong = [
    [],
    [pem, pem, pem],
    [pem + pem],
    [`# hello\n${pem}`],
    [`${pem}# bye`],
    [pem.replace("CERTIFICATE", "PRIVATE KEY")],
    [pem.replaceAll("CERTIFICATE", "PRIVATE KEY")],
    [pem.replace("AAAA", "AA A")],
    [`-----BEGIN CERTIFICATE-----\n${`${"A".repeat(76)}\n`.repeat(200)}-----END CERTIFICATE-----\n`],
  ];
  for (const caCertificates of wrong) {
    assertRefuses(
      schemas.checkPins,
      { caCertificates, generation: 1 },
      JSON.stringify(caCertificates).slice(0, 80),
    );
  }
  assertRefuses(schemas.checkPins, { caCertificates: [pem], generation: 2 ** 32 }, "generation");
});

Deno.test("checkSignedHead, checkPrepared and checkChallenge take bytes of their lengths only", () => {
  assertStrict(schemas.checkSignedHead, { number: 1, hash: key, signature: new Uint8Array(64) }, [
    "it.number = WRONG[3]",
  ]);
  assertStrict(schemas.checkPrepared, { hostKey: key, linkNonce: key, challenge: new Uint8Array(16) });
  assertStrict(schemas.checkChallenge, new Uint8Array(16));
  for (const length of [15, 17]) assertRefuses(schemas.checkChallenge, new Uint8Array(length), `${length}`);
  // Other views on memory are no bytes here.
  assertRefuses(schemas.checkChallenge, new Uint8ClampedArray(16), "clamped");
  assertRefuses(schemas.checkChallenge, new ArrayBuffer(16), "a buffer");
});

Deno.test("checkHostRows and checkSessionRows take rows for a table and nothing that drives a terminal", () => {
  assertStrict(schemas.checkHostRows, [row], [
    "it = WRONG[14]",
    "it.0.tags = WRONG[14]",
    "it.0.sinceMs = WRONG[1]",
    "it.0.sinceMs = WRONG[3]",
    "it.0.online = WRONG[2]",
    "it.0.latencyMs = WRONG[1]",
    "it.0.latencyMs = WRONG[3]",
    "it.0.latencyMs = WRONG[5]",
    "it.0.version = WRONG[1]",
    "it.0.system = WRONG[1]",
    "it.0.sessions = WRONG[3]",
  ]);
  assertStrict(schemas.checkSessionRows, [{ session, host: "web1", openedMs: 5, detached: false }], [
    "it = WRONG[14]",
    "it.0.openedMs = WRONG[3]",
    "it.0.detached = WRONG[2]",
  ]);
  for (const name of ["Web1", "web 1", "web1\n", "web\u001b1", "-web", "w".repeat(65)]) {
    assertRefuses(schemas.checkHostRows, [{ ...row, name }], name);
    assertRefuses(schemas.checkHostRows, [{ ...row, tags: [name] }], name);
    assertRefuses(schemas.checkHostName, name, name);
  }
  assertTakes(schemas.checkHostName, "db-2.example");
});

Deno.test("checkHostRows takes 5,000 hosts quickly enough to be asked on each change", () => {
  assertTakes(schemas.checkHostRows, Array.from({ length: 5000 }, () => row));
});

Deno.test("checkNothing and checkGeneration take null and a number", () => {
  assertStrict(schemas.checkNothing, null, ["it = WRONG[1]"]);
  assertStrict(schemas.checkGeneration, 7, ["it = WRONG[3]"]);
});

Deno.test("every schema refuses a list with holes and an array with more than items", () => {
  const holes: unknown[] = new Array(2);
  holes[1] = session;
  assert.equal(takes(schemas.checkRegistered, { end: holes }), false);
});
