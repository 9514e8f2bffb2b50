import assert from "node:assert/strict";
import type { AuditBody } from "../../../src/server/manage/audit.ts";
import { Journal } from "../../../src/server/manage/journal.ts";
import { Log } from "../../../src/system/log.ts";
import { FakeClock } from "../../commander/fake_clock.ts";

interface Noted {
  readonly journal: Journal;
  readonly rows: (AuditBody & { readonly event: string })[];
  readonly lines: string[];
  readonly clock: FakeClock;
  isFull: boolean;
}

function noted(): Noted {
  const clock = new FakeClock();
  const lines: string[] = [];
  const rows: Noted["rows"] = [];
  const log = new Log({ role: "manage", format: "text", write: (line) => void lines.push(line), clock });
  const audit = {
    append(event: string, body: AuditBody): { number: number; hash: Uint8Array<ArrayBuffer> } {
      if (made.isFull) throw new Error("database or disk is full");
      return { number: rows.push({ ...body, event }), hash: new Uint8Array(32) };
    },
  };
  const made: Noted = { journal: new Journal(audit, log, clock), rows, lines, clock, isFull: false };
  return made;
}

Deno.test("Journal writes a row and a line for each event", () => {
  const { journal, rows, lines } = noted();
  journal.linkUp({ role: "administrator", name: "alice" }, "192.0.2.7:5000");
  journal.linkContested("web1", "192.0.2.7:5000", "192.0.2.8:5000");
  assert.deepEqual(rows, [
    { event: "link_up", admin: "alice", address: "192.0.2.7:5000" },
    { event: "link_contested", host: "web1", holder: "192.0.2.7:5000", newcomer: "192.0.2.8:5000" },
  ]);
  assert.match(lines[0] ?? "", /INFO manage: link_up admin=alice address=192\.0\.2\.7:5000\n$/);
  assert.match(lines[1] ?? "", /WARN manage: link_contested host=web1/);
});

Deno.test("Journal bounds what strangers can have it write, and counts what is missing", () => {
  const { journal, rows, lines, clock } = noted();
  for (let i = 0; i < 5_000; i++) {
    journal.linkRefused({
      reason: "authentication",
      address: `192.0.2.${i % 200}:1`,
      fingerprint: `key ${i}`,
    });
    journal.hungUp(`192.0.2.${i % 200}:1`);
    journal.noPlace("full", `192.0.2.${i % 200}`);
  }
  assert.equal(rows.length, 20);
  assert.equal(lines.length, 60);
  clock.pass(60_000);
  journal.linkRefused({ reason: "authentication", address: "192.0.2.1:1" });
  assert.equal(rows.at(-1)?.["suppressed"], 4_980);
  assert.match(lines.at(-1) ?? "", /suppressed=4980/);
});

Deno.test("Journal does not let strangers hush what it says of a known name", () => {
  const { journal, rows } = noted();
  for (let i = 0; i < 5_000; i++) journal.linkRefused({ reason: "revoked", address: "192.0.2.1:1" });
  const before = rows.length;
  journal.linkRefused({ reason: "exhausted", address: "192.0.2.2:1", side: { role: "host", name: "web1" } });
  assert.deepEqual(rows.slice(before), [
    { event: "link_refused", reason: "exhausted", host: "web1", address: "192.0.2.2:1" },
  ]);
});

Deno.test("Journal bounds the refused sessions of each administrator for himself", () => {
  const { journal, rows, clock } = noted();
  const refusal = { host: "web1", action: "shell", reason: "refused_by_server", text: "no" } as const;
  for (let i = 0; i < 1_000; i++) journal.sessionRefused({ admin: "alice", ...refusal });
  assert.equal(rows.length, 30);
  journal.sessionRefused({ admin: "bob", ...refusal });
  assert.equal(rows.length, 31);
  clock.pass(60_000);
  for (let i = 0; i < 1_000; i++) journal.sessionRefused({ admin: "alice", ...refusal });
  assert.equal(rows.length, 61);
});

Deno.test("Journal goes on when a row cannot be written, and says so", () => {
  const made = noted();
  made.isFull = true;
  for (let i = 0; i < 100; i++) {
    made.journal.linkUp({ role: "administrator", name: `admin${i}` }, "192.0.2.7:1");
  }
  const failures = made.lines.filter((line) => line.includes("audit row not written"));
  assert.equal(failures.length, 5);
  assert.match(failures[0] ?? "", /event=link_up error="database or disk is full"/);
  made.isFull = false;
  made.journal.linkUp({ role: "administrator", name: "alice" }, "192.0.2.7:1");
  assert.equal(made.rows.length, 1);
});

Deno.test("Journal writes nothing of a stranger's raw", () => {
  const { journal, lines } = noted();
  journal.failed("a call failed", new Error('x\n2026 WARN manage: forged \u001b[31m"'), { method: "a b\nc" });
  assert.equal(lines.length, 1);
  assert.equal(lines[0]?.split("\n").length, 2);
  assert.ok(!lines[0]?.includes("\u001b"));
});
