/** In which order things become durable: what no kill shows, as the kernel outlives it, but a power cut would. */
import assert from "node:assert/strict";
import { ChunkList } from "../../../src/client/transfer/chunk_list.ts";
import type { Timers } from "../../../src/protocol/rpc/timers.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { until } from "../../e2e/until.ts";
import {
  Offered,
  receiveAll,
  sinkInto,
  TargetFolder,
  workingFolder,
  writeRanges,
} from "./file_sink_stage.ts";

/** Writes down what is done to files, with their names, while it is there. */
class ActLog implements Disposable {
  readonly acts: string[] = [];
  readonly #names = new WeakMap<Deno.FsFile, string>();
  readonly #folder: string;
  readonly #undo: (() => void)[] = [];

  constructor(folder: string) {
    this.#folder = folder;
    this.#wrap(Deno, "open", (path, opened) => this.#names.set(opened as Deno.FsFile, this.#name(path)));
    this.#wrap(Deno, "openSync", (path, opened) => this.#names.set(opened as Deno.FsFile, this.#name(path)));
    this.#wrap(
      Deno,
      "linkSync",
      (from, _result, to) => this.acts.push(`link ${this.#name(from)} ${this.#name(to)}`),
    );
    this.#wrap(
      Deno,
      "renameSync",
      (from, _result, to) => this.acts.push(`rename ${this.#name(from)} ${this.#name(to)}`),
    );
    this.#wrap(Deno, "removeSync", (path) => this.acts.push(`remove ${this.#name(path)}`));
    this.#wrap(Deno, "mkdirSync", (path) => this.acts.push(`mkdir ${this.#name(path)}`));
    for (const sync of ["sync", "syncSync", "syncData", "syncDataSync"] as const) {
      this.#wrapFile(sync, "sync");
    }
    for (const write of ["write", "writeSync", "truncate"] as const) this.#wrapFile(write, "write");
  }

  /** Forgets what was done so far. */
  begin(): void {
    this.acts.length = 0;
  }

  /** Where the first act after `from` is that matches. */
  after(from: number, pattern: RegExp): number {
    const at = this.acts.findIndex((act, at) => at > from && pattern.test(act));
    assert(at !== -1, `no ${pattern} after act ${from} in\n${this.acts.join("\n")}`);
    return at;
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undo) undo();
  }

  #name(path: unknown): string {
    const name = String(path).replace(this.#folder, "");
    return name.replace(/^\/\.postern-[0-9a-f]{16}/, "W") || "/";
  }

  #wrap(on: object, key: string, note: (first: unknown, result: unknown, second: unknown) => void): void {
    const original = Reflect.get(on, key) as (...parameters: unknown[]) => unknown;
    this.#undo.push(() => Reflect.set(on, key, original));
    Reflect.set(on, key, (...parameters: unknown[]): unknown => {
      const result = Reflect.apply(original, on, parameters);
      if (!(result instanceof Promise)) note(parameters[0], result, parameters[1]);
      return result instanceof Promise
        ? result.then((value) => {
          note(parameters[0], value, parameters[1]);
          return value;
        })
        : result;
    });
  }

  #wrapFile(key: string, act: string): void {
    const names = this.#names, acts = this.acts, prototype = Deno.FsFile.prototype;
    const original = Reflect.get(prototype, key) as (...parameters: unknown[]) => unknown;
    this.#undo.push(() => Reflect.set(prototype, key, original));
    Reflect.set(prototype, key, function (this: Deno.FsFile, ...parameters: unknown[]): unknown {
      const result = Reflect.apply(original, this, parameters);
      const note = (): number => acts.push(`${act} ${names.get(this)}`);
      if (!(result instanceof Promise)) note();
      return result instanceof Promise
        ? result.then((value) => {
          note();
          return value;
        })
        : result;
    });
  }
}

/** Timers that fire when they are told to. */
class HandTimers implements Timers {
  readonly waiting = new Map<number, () => void>();
  #next = 0;

  monotonicMs(): number {
    return 0;
  }

  after(delayMs: number, act: () => void): () => void {
    assert.equal(delayMs, 1000);
    const id = this.#next++;
    this.waiting.set(id, act);
    return () => this.waiting.delete(id);
  }

  fire(): void {
    for (const [id, act] of [...this.waiting]) {
      this.waiting.delete(id);
      act();
    }
  }
}

/** Of which kinds the records of the list are. */
async function listedIn(target: string): Promise<string[]> {
  const list = await ChunkList.open(`${workingFolder(target)}/chunks`);
  assert(list !== null);
  const kinds: string[] = [];
  await list.readAll(({ kind }) => kinds.push(kind));
  list.close();
  return kinds;
}

function noLinks(): never {
  throw Object.assign(new Deno.errors.PermissionDenied("Operation not permitted (os error 1)"), {
    code: "EPERM",
  });
}

Deno.test("FileSink lists a chunk a second after it was written, and only once its bytes are durable", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 5 * CHUNK_BYTES } });
  const timers = new HandTimers();
  using log = new ActLog(target.path);
  await using sink = sinkInto(target.path, { timers });
  const ranges = await sink.accept(offered.offer);
  log.begin();
  await writeRanges(sink, offered, ranges);
  await until("all is written", () => log.acts.length === 5);
  assert.equal(timers.waiting.size, 1);
  timers.fire();
  await until("the list is durable", () => log.acts.includes("sync W/chunks"));
  assert.equal(timers.waiting.size, 0);
  assert.deepEqual(log.acts.slice(5), ["sync W/data-0", "sync W", "write W/chunks", "sync W/chunks"]);
  await sink.flush();
  assert.equal(log.acts.length, 9, "there was nothing more to do");
});

Deno.test("FileSink lists what was written whenever it is 64 MiB, without any time passing", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 300 * CHUNK_BYTES } });
  using log = new ActLog(target.path);
  await using sink = sinkInto(target.path, { timers: new HandTimers() });
  await sink.accept(offered.offer);
  log.begin();
  const zeros = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(CHUNK_BYTES)));
  for (let chunk = 0; chunk < 300; chunk++) await sink.write(0, chunk, new Uint8Array(CHUNK_BYTES), zeros);
  const lists = log.acts.flatMap((act, at) => act === "write W/chunks" ? [at] : []);
  assert(lists.length >= 2 && lists.length <= 4, `${lists.length} times`);
  const written = log.acts.slice(0, lists[0]).filter((act) => act === "write W/data-0").length;
  assert(written >= 64 && written < 135, `after ${written} chunks`);
});

Deno.test("FileSink makes files durable in groups: data, list, links, folders, list, and only then takes data away", async () => {
  using target = new TargetFolder();
  const names = [...Array(50).keys()];
  const offered = new Offered({
    ...Object.fromEntries(names.map((i) => [`f/${i}`, { content: i }])),
    "e": {},
    "e/g": {},
  });
  using log = new ActLog(target.path);
  await using sink = sinkInto(target.path, { timers: new HandTimers() });
  await receiveAll(sink, offered);
  for (const i of names) {
    const durable = log.after(-1, new RegExp(`^sync W/data-${i}$`));
    const listed = log.after(durable, /^write W\/chunks$/);
    const listDurable = log.after(listed, /^sync W\/chunks$/);
    const linked = log.after(listDurable, new RegExp(`^link W/data-${i} /f/${i}$`));
    const inPlace = log.after(linked, /^sync \/f$/);
    const placed = log.after(inPlace, /^write W\/chunks$/);
    const placedDurable = log.after(placed, /^sync W\/chunks$/);
    log.after(placedDurable, new RegExp(`^remove W/data-${i}$`));
    assert.equal(log.acts.filter((act) => act === `remove W/data-${i}`).length, 1);
  }
  const made = log.after(-1, /^mkdir \/f$/);
  log.after(made, /^sync \/$/);
  log.after(log.after(-1, /^mkdir \/e$/), /^sync \/$/);
  // The folder below first: the one above may let nobody in afterwards.
  log.after(log.after(log.acts.indexOf("mkdir /e/g"), /^sync \/e\/g$/), /^sync \/e$/);
  const listSyncs = log.acts.filter((act) => act === "sync W/chunks").length;
  assert(listSyncs < 20, `${listSyncs} fsyncs of the list for ${names.length} files`);
});

Deno.test("FileSink writes down what it is about to rename before it does", async () => {
  for (const options of [{ overwrite: true }, { link: noLinks }]) {
    using target = new TargetFolder();
    if (options.overwrite) Deno.writeTextFileSync(`${target.path}/a`, "old");
    const offered = new Offered({ a: { content: 5 } });
    using log = new ActLog(target.path);
    await using sink = sinkInto(target.path, { timers: new HandTimers(), ...options });
    const ranges = await sink.accept(offered.offer);
    log.begin();
    await writeRanges(sink, offered, ranges);
    await sink.finishFile(0);
    assert.deepEqual((await listedIn(target.path)).slice(-2), ["renaming", "placed"]);
    const renamed = log.acts.lastIndexOf("rename W/data-0 /a");
    const before = log.acts.slice(0, renamed);
    assert(before.lastIndexOf("sync W/chunks") > before.lastIndexOf("write W/chunks"));
    assert(before.lastIndexOf("write W/chunks") > before.indexOf("sync W/data-0"));
    const inPlace = log.after(renamed, /^sync \/$/);
    log.after(log.after(inPlace, /^write W\/chunks$/), /^sync W\/chunks$/);
  }
});
