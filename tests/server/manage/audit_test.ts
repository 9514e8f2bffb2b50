import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { Audit, type AuditHead, type AuditVerdict } from "../../../src/server/manage/audit.ts";
import { Database } from "../../../src/server/manage/database.ts";
import { holds } from "../../property.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { RegistryGround, StandingClock } from "./registry_ground.ts";

/** A row as it lies in the file. */
interface RawRow {
  number: number;
  at_ms: number;
  event: string;
  body: string;
  hash: Uint8Array;
}

const ROWS = 8;

/** An audit whose rows can be replaced by others, as whoever can write the file could. */
class Forged implements Disposable {
  readonly audit: Audit;
  readonly heads: readonly AuditHead[];
  readonly rows: readonly RawRow[];
  readonly #database: Database;
  readonly #raw: DatabaseSync;

  constructor(path: string, database: Database) {
    this.#database = database;
    this.audit = new Audit(database, new StandingClock());
    this.heads = Array.from(
      { length: ROWS },
      (_, n) =>
        this.audit.append(n % 2 === 0 ? "joined" : "revoked", { name: `web${n}`, tags: ["a"], n, x: null }),
    );
    this.#raw = new DatabaseSync(path);
    this.#raw.exec("DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_cut");
    this.rows = this.#raw.prepare("SELECT * FROM audit ORDER BY number").all() as unknown as RawRow[];
  }

  verify(rows: readonly RawRow[], kept: AuditHead | null = null): AuditVerdict {
    this.#raw.exec("BEGIN; DELETE FROM audit");
    const insert = this.#raw.prepare(
      "INSERT INTO audit (number, at_ms, event, body, hash) VALUES (?, ?, ?, ?, ?)",
    );
    for (const row of rows) insert.run(row.number, row.at_ms, row.event, row.body, row.hash);
    this.#raw.exec("COMMIT");
    return this.audit.verify(kept);
  }

  [Symbol.dispose](): void {
    this.#raw.close();
    this.#database.close();
  }
}

async function forged(folder: TempFolder): Promise<Forged> {
  const path = `${folder.path}/registry.db`;
  return new Forged(path, await Database.create(path));
}

/** One change of one column. */
const CHANGE: fc.Arbitrary<(row: RawRow) => RawRow> = fc.oneof(
  fc.integer({ min: 1, max: 1_000_000 }).map((by) => (row: RawRow): RawRow => ({
    ...row,
    at_ms: row.at_ms + by,
  })),
  fc.constant((row: RawRow): RawRow => ({ ...row, at_ms: -1 })),
  fc.constant((row: RawRow): RawRow => ({ ...row, event: `${row.event} ` })),
  fc.constant((row: RawRow): RawRow => ({ ...row, event: row.event === "joined" ? "revoked" : "joined" })),
  fc.tuple(fc.nat({ max: 200 }), fc.integer({ min: 1, max: 127 })).map(
    ([at, by]) => (row: RawRow): RawRow => {
      const units = [...row.body].map((character) => character.charCodeAt(0));
      const place = at % units.length;
      units[place] = (units[place] ?? 0) ^ by;
      return { ...row, body: String.fromCharCode(...units) };
    },
  ),
  fc.tuple(fc.nat({ max: 31 }), fc.integer({ min: 1, max: 255 })).map(([at, by]) => (row: RawRow): RawRow => {
    const hash = row.hash.slice();
    hash[at] = (hash[at] ?? 0) ^ by;
    return { ...row, hash };
  }),
  fc.constant((row: RawRow): RawRow => ({ ...row, hash: new Uint8Array(0) })),
  // What is moved from one column to the other stays the same text in a row.
  fc.constant((row: RawRow): RawRow => ({
    ...row,
    event: row.event + row.body.slice(0, 1),
    body: row.body.slice(1),
  })),
);

const PLACE = fc.nat({ max: ROWS - 1 });

Deno.test("verify() names the first row that was changed, whatever was changed in it", async () => {
  await using folder = await TempFolder.make("audit");
  using audit = await forged(folder);
  holds(fc.property(PLACE, CHANGE, (place, change) => {
    const verdict = audit.verify(audit.rows.map((row, at) => at === place ? change(row) : row));
    assert.equal(verdict.isSound, false);
    return !verdict.isSound && verdict.row === place + 1;
  }));
});

Deno.test("verify() names the first row that was removed, reordered, put in or written twice", async () => {
  await using folder = await TempFolder.make("audit");
  using audit = await forged(folder);
  const { rows } = audit;
  const renumbered = (list: readonly RawRow[]): RawRow[] =>
    list.map((row, at) => ({ ...row, number: at + 1 }));
  holds(fc.property(fc.nat({ max: ROWS - 2 }), fc.boolean(), (place, renumber) => {
    const rest = rows.filter((_, at) => at !== place);
    const verdict = audit.verify(renumber ? renumbered(rest) : rest);
    assert.equal(!verdict.isSound && verdict.row, place + 1);
  }));
  const order = fc.shuffledSubarray(rows.map((_, at) => at), { minLength: ROWS, maxLength: ROWS });
  holds(fc.property(order, (places) => {
    const first = places.findIndex((from, at) => from !== at);
    fc.pre(first !== -1);
    const moved = places.map((from) => rows[from]).filter((row) => row !== undefined);
    const verdict = audit.verify(renumbered(moved));
    assert.equal(!verdict.isSound && verdict.row, first + 1);
  }));
  holds(fc.property(PLACE, fc.nat({ max: ROWS - 2 }), (place, source) => {
    const copy = rows[source];
    assert.ok(copy !== undefined);
    const more = renumbered([...rows.slice(0, place), copy, ...rows.slice(place)]);
    const verdict = audit.verify(more);
    assert.equal(verdict.isSound, false);
  }));
});

Deno.test("verify() finds rows that were cut off at the end only against a head that was kept", async () => {
  await using folder = await TempFolder.make("audit");
  using audit = await forged(folder);
  holds(fc.property(fc.nat({ max: ROWS - 1 }), fc.nat({ max: ROWS - 1 }), (length, keptAt) => {
    const kept = audit.heads[keptAt];
    assert.ok(kept !== undefined);
    const cut = audit.rows.slice(0, length);
    assert.equal(audit.verify(cut).isSound, true, "the chain itself is whole");
    const verdict = audit.verify(cut, kept);
    assert.equal(verdict.isSound, kept.number <= length);
    if (!verdict.isSound) assert.equal(verdict.row, length + 1);
  }));
});

Deno.test("verify() finds a chain that was made anew, against a head that was kept", async () => {
  await using folder = await TempFolder.make("audit");
  using audit = await forged(folder);
  await using other = await TempFolder.make("audit");
  using database = await Database.create(`${other.path}/registry.db`);
  const anew = new Audit(database, new StandingClock());
  for (let n = 0; n < ROWS; n++) anew.append("joined", { name: `other${n}` });
  for (const kept of audit.heads) {
    assert.deepEqual(anew.verify(kept), {
      isSound: false,
      row: kept.number,
      problem: "it is another one than the head that was kept",
    });
  }
  assert.equal(audit.audit.verify(audit.heads[3] ?? null).isSound, true);
});

Deno.test("verify() survives what no row can hold", async () => {
  await using folder = await TempFolder.make("audit");
  using audit = await forged(folder);
  for (const number of [0, -5, 2 ** 52]) {
    const verdict = audit.verify(audit.rows.map((row, at) => at === 0 ? { ...row, number } : row));
    assert.equal(verdict.isSound, false);
  }
  const raw = new DatabaseSync(`${folder.path}/registry.db`);
  raw.exec("UPDATE audit SET at_ms = 9223372036854775807 WHERE number = 3");
  raw.close();
  assert.equal(audit.audit.verify().isSound, false);
});

Deno.test("append() never changes a row that is there, also by a mistake of ours", async () => {
  await using ground = await RegistryGround.make();
  const raw = new DatabaseSync(ground.folder.registry);
  for (const sql of ["UPDATE audit SET body = '{}' WHERE number = 1", "DELETE FROM audit WHERE number = 1"]) {
    assert.throws(() => raw.exec(sql), /rows of the audit are never/);
  }
  raw.close();
});

Deno.test("append() gives the head that head() gives, and rows() what was written", async () => {
  await using ground = await RegistryGround.make();
  const { audit } = ground.registry;
  const before = audit.head();
  const head = audit.append("policy_changed", {
    sha256: "ab",
    why: '\u0000 \ud800 "',
    list: ["a", "b"],
    n: 1.5,
    no: null,
  });
  assert.equal(head.number, before.number + 1);
  assert.deepEqual(audit.head(), head);
  assert.deepEqual(audit.rows({ limit: 1 }), [{
    number: head.number,
    atMs: ground.clock.nowMs,
    event: "policy_changed",
    body: { sha256: "ab", why: '\u0000 \ud800 "', list: ["a", "b"], n: 1.5, no: null },
  }]);
  assert.equal(audit.verify(head).isSound, true);
  assert.equal(audit.rows({ limit: 100 }).length, head.number);
});
