/** A relay with thousands of connections, with readers that do not read, and without file descriptors. */
import assert from "node:assert/strict";
import { pattern, Peer } from "../server/relay/peer.ts";
import { unless } from "./machine.ts";
import { RelayProcess } from "./relay_process.ts";
import { pause, until } from "./until.ts";

const TIMEOUT_MS = 120_000;
const PARKED = 2000;
const STAPLES = 500;
/** At once, so that no kernel's queue overflows. */
const BATCH = 100;
const MIB = 1024 * 1024;

/** Why this process may not have as many connections as it needs, or null. */
function filesObstacle(needed: number): string | null {
  const { stdout } = new Deno.Command("sh", { args: ["-c", "ulimit -Hn"] }).outputSync();
  const limit = new TextDecoder().decode(stdout).trim();
  return limit === "unlimited" || Number(limit) >= needed
    ? null
    : `needs ${needed} open files, may have ${limit}`;
}

/** Works on all of them, some at a time. */
async function inBatches<T, R>(all: readonly T[], work: (each: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < all.length; at += BATCH) {
    results.push(...await Promise.all(all.slice(at, at + BATCH).map(work)));
  }
  return results;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, at) => at);
}

function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`    ${text}\n`));
}

Deno.test({
  ...unless(
    filesObstacle(4000),
    `a relay holds ${PARKED} parked and ${STAPLES} stapled connections at once, with data through each`,
  ),
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using relay = await RelayProcess.start({
      words: [
        ...["--max-arriving", "3000", "--max-arriving-per-ip", "3000"],
        ...["--max-parked", "2500", "--max-parked-per-ip", "2500"],
        ...["--max-staples", "600", "--max-staples-per-ip", "600"],
      ],
    });
    const { address } = relay;
    const startMb = relay.residentMb;
    const parked = await inBatches(range(PARKED), (n) => Peer.come(address, `parked ${n}`, `early ${n};`));
    const pairs = await inBatches(range(STAPLES), async (n): Promise<[Peer, Peer]> => {
      const one = await Peer.come(address, `pair ${n}`, "hello");
      const other = await Peer.come(address, `pair ${n}`);
      await other.hears("hello");
      return [one, other];
    });
    const fullMb = relay.residentMb;

    // Both ways through each pair, more than a small buffer holds.
    const text = "x".repeat(40_000);
    await inBatches(pairs, async ([one, other]) => {
      await Promise.all([
        one.say(`${text}1`),
        other.say(`${text}2`),
        other.hears(`${text}1`),
        one.hears(`${text}2`),
      ]);
    });
    const usedMb = relay.residentMb;

    // Somebody comes for everybody who is parked.
    await inBatches(range(PARKED), async (n) => {
      using partner = await Peer.come(address, `parked ${n}`, "and late");
      await partner.hears(`early ${n};`);
      await parked[n]?.hears("and late");
      parked[n]?.close();
    });
    say(
      `resident memory: ${startMb.toFixed(0)} MB at start, ${
        fullMb.toFixed(0)
      } MB with ${PARKED} parked and ` +
        `${STAPLES} staples, ${usedMb.toFixed(0)} MB after 40 kB both ways through each, ` +
        `${relay.residentMb.toFixed(0)} MB in the end`,
    );
    assert.deepEqual(relay.lines("connection refused"), []);
    // A small buffer for each direction (16 MB), some kilobytes for each connection (30 MB), all of the big buffers (16 MB).
    assert(usedMb - startMb < 110, `${usedMb - startMb} MB`);
    for (const peer of pairs.flat()) peer.close();
  },
});

/** Megabytes a second through a staple of its own; the best of some. */
async function fastest(address: string, identifier: string): Promise<number> {
  let best = 0;
  for (let n = 0; n < 4; n++) best = Math.max(best, await through(address, identifier, 48 * MIB));
  return best;
}

async function through(address: string, identifier: string, bytes: number): Promise<number> {
  using one = await Peer.come(address, identifier);
  using other = await Peer.come(address, identifier);
  const piece = new Uint8Array(MIB);
  const startMs = performance.now();
  const saying = (async (): Promise<void> => {
    for (let said = 0; said < bytes; said += MIB) await one.say(piece);
    await one.finish();
  })();
  const buffer = new Uint8Array(MIB);
  let heard = 0;
  for (let got: number | null = 0; got !== null; got = await other.connection.read(buffer)) heard += got;
  await saying;
  assert.equal(heard, bytes);
  return bytes / 1e6 / ((performance.now() - startMs) / 1000);
}

Deno.test({
  name: "a slow reader holds back its own sender alone, and costs the relay no memory",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using relay = await RelayProcess.start();
    const { address } = relay;
    const aloneMbPerSecond = await fastest(address, "alone");
    const startMb = relay.residentMb;

    // More of them than there are big buffers.
    const slow = await Promise.all(
      range(40).map(async (n) => {
        const writer = await Peer.come(address, `slow ${n}`);
        const reader = await Peer.come(address, `slow ${n}`);
        return { writer, reader, said: 0, isOver: false };
      }),
    );
    const limit = 32 * MIB;
    const piece = pattern(MIB / 4);
    const saying = slow.map(async (each) => {
      while (each.said < limit && !each.isOver) {
        each.said += await each.writer.connection.write(piece.subarray(each.said % piece.length));
      }
    });
    const allSaid = Promise.allSettled(saying);
    const sum = (): number => slow.reduce((all, { said }) => all + said, 0);
    let before = -1;
    await until("all of them are held back", async () => {
      if (sum() === before) return true;
      before = sum();
      await pause(300);
      return false;
    }, { timeoutMs: 60_000 });
    for (const { said } of slow) assert(said < limit, `a writer was let say ${said} bytes to nobody`);
    const heldMb = relay.residentMb;
    const besideMbPerSecond = await fastest(address, "beside");
    say(
      `${slow.length} slow readers: ${(sum() / 1e6).toFixed(0)} MB wait in the kernel; resident memory ` +
        `${startMb.toFixed(0)} MB before, ${heldMb.toFixed(0)} MB with them; another staple at ` +
        `${aloneMbPerSecond.toFixed(0)} MB/s before, ${besideMbPerSecond.toFixed(0)} MB/s beside them`,
    );
    assert(heldMb - startMb < 40, `${heldMb - startMb} MB`);
    // They have the big buffers; and this process is at both ends, on a machine that may do other things besides.
    assert(besideMbPerSecond > aloneMbPerSecond / 5);

    // A slow reader is no lost one: everything is there, in order.
    const [{ writer, reader } = assert.fail(), ...others] = slow;
    for (const each of slow) each.isOver = true;
    for (const each of others) each.reader.close();
    const heardAll = (async (): Promise<number> => {
      let heard = 0;
      const buffer = new Uint8Array(MIB);
      for (;;) {
        const bytes = await reader.connection.read(buffer);
        if (bytes === null) return heard;
        for (let at = 0; at < bytes; at++) {
          if (buffer[at] !== piece[(heard + at) % piece.length]) {
            assert.fail(`byte ${heard + at} is another one`);
          }
        }
        heard += bytes;
      }
    })();
    await allSaid;
    await writer.finish();
    assert.equal(await heardAll, slow[0]?.said);
    for (const each of slow) {
      each.writer.close();
      each.reader.close();
    }
  },
});

Deno.test({
  name: "a relay that may open no more files goes on serving, and recovers",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using relay = await RelayProcess.start({
      launcher: ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"],
    });
    const { address } = relay;
    using one = await Peer.come(address, "a");
    using other = await Peer.come(address, "a", "hello");
    await one.hears("hello");
    const crowd = await Promise.all(range(120).map((n) => Peer.come(address, `crowd ${n}`)));
    await relay.process.line(({ fields }) => fields["message"] === "accepting failed");
    const failures = relay.lines("accepting failed");
    assert.match(String(failures[0]?.["error"]), /too many open files/i);
    // Who is stapled goes on, as long as it takes.
    for (let n = 0; n < 50; n++) {
      await one.say(`still ${n}`);
      await other.hears(`still ${n}`);
      await pause(10);
    }
    assert(relay.lines("accepting failed").length <= 5, "the log is throttled");
    for (const peer of crowd) peer.close();
    using next = await Peer.come(address, "b", "room again");
    using partner = await Peer.come(address, "b");
    await partner.hears("room again");
    void next;
  },
});
