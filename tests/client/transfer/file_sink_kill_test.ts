/** A receiver that is killed again and again: what its list says is there, and it gets to its end. */
import assert from "node:assert/strict";
import {
  LIST_RECORD_BYTES,
  type ListRecord,
  ListRecords,
} from "../../../src/client/transfer/chunk_list_records.ts";
import { offerFingerprint } from "../../../src/client/transfer/file_sink_offer.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { pause, textOf } from "../../e2e/until.ts";
import { killedOffer } from "./file_sink_child.ts";
import {
  expectedTree,
  type Offered,
  sha256,
  TargetFolder,
  treeOf,
  workingFolder,
} from "./file_sink_stage.ts";

const CHILD = new URL("file_sink_child.ts", import.meta.url).pathname;
const CONFIG = new URL("../../../deno.json", import.meta.url).pathname;
const KILLS: Readonly<Record<string, number>> = { "links": 6, "no-links": 5, "overwrite": 4 };
const MAX_PAUSE_MS = 120;

/** Starts a receiver; killed at a random moment after it has accepted, unless it is to come to its end. */
async function receive(folder: string, mode: string, isKilled: boolean): Promise<boolean> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `--config=${CONFIG}`, CHILD, folder, mode],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let said = (await reader.read()).value ?? "";
  if (isKilled) {
    await pause(Math.random() * MAX_PAUSE_MS);
    try {
      child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended already
    }
  }
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    said += value;
  }
  await child.status;
  assert.match(said, /^accepted\n/);
  return said.endsWith("done\n");
}

/** The records of the list as the page in chunk_list_records.ts says, up to the first that is none. */
function listedIn(folder: string, offered: Offered): ListRecord[] {
  const records = new ListRecords(offerFingerprint(offered.offer));
  const bytes = Deno.readFileSync(`${workingFolder(folder)}/chunks`);
  const found: ListRecord[] = [];
  for (let number = 0; (number + 1) * LIST_RECORD_BYTES <= bytes.length; number++) {
    const record = records.read(
      bytes.slice(number * LIST_RECORD_BYTES, (number + 1) * LIST_RECORD_BYTES),
      number,
    );
    assert(record !== null, `record ${number} is bad`);
    found.push(record);
  }
  return found;
}

/** What the list says is in the files, byte for byte. */
async function requireBacked(folder: string, offered: Offered): Promise<number> {
  let chunks = 0;
  const records = listedIn(folder, offered);
  const placed = new Set(records.flatMap((record) => record.kind === "placed" ? [record.file] : []));
  for (const record of records) {
    if (record.kind !== "chunk") continue;
    const { file, chunk, hash } = record;
    const path = `${folder}/${offered.entry(file).path}`;
    const dataPath = `${workingFolder(folder)}/data-${file}`;
    // Renamed, and no record says so yet.
    const isThere = placed.has(file) || await textOf(dataPath) === undefined;
    const bytes = Deno.readFileSync(isThere ? path : dataPath);
    const there = bytes.slice(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
    assert.deepEqual(await sha256(there), hash, `chunk ${chunk} of file ${file}`);
    assert.deepEqual(there, offered.chunk(file, chunk));
    chunks++;
  }
  return chunks;
}

/** Whatever can be seen is whole. */
function requireWhole(folder: string, offered: Offered, old: Uint8Array | null): void {
  const expected = expectedTree(offered);
  for (const [path, what] of Object.entries(treeOf(folder))) {
    if (path.startsWith(".postern-")) continue;
    const isOld = old !== null && what instanceof Uint8Array && what.toHex() === old.toHex();
    if (!isOld) assert.deepEqual(what, expected[path], path);
  }
}

for (const [mode, most] of Object.entries(KILLS)) {
  Deno.test({
    name: `FileSink killed at ${most} random moments has what its list says, and gets to its end (${mode})`,
    timeout: 120_000,
    async fn(): Promise<void> {
      using target = new TargetFolder();
      const offered = killedOffer();
      // A place that is reserved is an empty file for a moment.
      const old = mode === "links" ? null : new TextEncoder().encode(mode === "overwrite" ? "old" : "");
      if (mode === "overwrite") {
        for (const path of ["long 1", "folder 1/7"]) {
          Deno.mkdirSync(`${target.path}/folder 1`, { recursive: true });
          Deno.writeFileSync(`${target.path}/${path}`, old ?? new Uint8Array());
        }
      }
      let isDone = false;
      const had: number[] = [];
      for (let kills = 0; kills < most && !isDone; kills++) {
        isDone = await receive(target.path, mode, true);
        requireWhole(target.path, offered, old);
        if (!isDone) had.push(await requireBacked(target.path, offered));
      }
      if (!isDone) isDone = await receive(target.path, mode, false);
      assert(isDone);
      assert.deepEqual(had, had.toSorted((a, b) => a - b), "something was lost");
      // Killed while it took its own folder away, it has left that; everything is in place.
      const seen = Object.entries(treeOf(target.path)).filter(([path]) => !path.startsWith(".postern-"));
      assert.deepEqual(Object.fromEntries(seen), expectedTree(offered));
      for (const { path, mode, kind } of offered.offer.entries) {
        if (kind === "file") assert.equal((Deno.statSync(`${target.path}/${path}`).mode ?? 0) & 0o777, mode);
      }
    },
  });
}
