import assert from "node:assert/strict";
import {
  ATTEMPT_MS,
  type DialSteps,
  firstProven,
  PROOF_HEAD_START_MS,
} from "../../../src/commander/agent/server_dial.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";

/** What happens at an address: when TLS stands, or why not; then the same for the proof. */
interface Script {
  readonly dialMs: number;
  readonly dialError?: Error;
  readonly proofMs?: number;
  readonly proofError?: Error;
}

/** Steps that follow a script, and what became of each connection. */
class Scripted {
  readonly timers = new FakeTimers();
  readonly dialled: string[] = [];
  readonly proofs: { address: string; atMs: number }[] = [];
  readonly discarded: string[] = [];
  readonly aborted: string[] = [];
  readonly steps: DialSteps<string, string>;

  constructor(script: Readonly<Record<string, Script>>) {
    const wait = (
      ms: number,
      address: string,
      signal: AbortSignal,
      error: Error | undefined,
    ): Promise<string> =>
      new Promise((resolve, reject) => {
        const callOff = this.timers.after(ms, () => error === undefined ? resolve(address) : reject(error));
        signal.addEventListener("abort", () => {
          callOff();
          this.aborted.push(address);
          reject(signal.reason);
        });
      });
    const of = (address: string): Script => script[address] ?? { dialMs: Infinity };
    this.steps = {
      dial: (address, signal) => {
        this.dialled.push(address);
        return wait(of(address).dialMs, address, signal, of(address).dialError);
      },
      prove: (address, signal) => {
        this.proofs.push({ address, atMs: this.timers.monotonicMs() });
        return wait(of(address).proofMs ?? Infinity, address, signal, of(address).proofError);
      },
      discard: (address) => void this.discarded.push(address),
      discardProven: (address) => void this.discarded.push(`proven ${address}`),
      timers: this.timers,
    };
  }

  /** Lets all of it happen. */
  async run(addresses: readonly string[], signal = new AbortController().signal): Promise<string | Error> {
    const outcome = firstProven(addresses, this.steps, signal).then((link) => link, (error: Error) => error);
    await this.timers.pass(2 * ATTEMPT_MS);
    return await outcome;
  }
}

Deno.test("firstProven() dials all addresses side by side and keeps the first that stands", async () => {
  const scripted = new Scripted({
    slow: { dialMs: 900, proofMs: 10 },
    fast: { dialMs: 100, proofMs: 10 },
    stuck: { dialMs: Infinity },
  });
  assert.equal(await scripted.run(["stuck", "slow", "fast"]), "fast");
  assert.deepEqual(scripted.dialled, ["stuck", "slow", "fast"]);
  assert.deepEqual(scripted.proofs, [{ address: "fast", atMs: 100 }]);
  // A dial that was given up closes what it had itself.
  assert.ok(scripted.aborted.includes("stuck") && scripted.aborted.includes("slow"));
  assert.equal(scripted.timers.pending, 0);
});

Deno.test("firstProven() begins a second proof only when the first has failed", async () => {
  const scripted = new Scripted({
    one: { dialMs: 10, proofMs: 500, proofError: new Error("cut") },
    two: { dialMs: 20, proofMs: 10 },
  });
  assert.equal(await scripted.run(["one", "two"]), "two");
  assert.deepEqual(scripted.proofs, [{ address: "one", atMs: 10 }, { address: "two", atMs: 510 }]);
});

Deno.test("firstProven() does not wait for a proof that hangs", async () => {
  const scripted = new Scripted({
    hangs: { dialMs: 10 },
    good: { dialMs: 20, proofMs: 10 },
  });
  assert.equal(await scripted.run(["hangs", "good"]), "good");
  assert.deepEqual(scripted.proofs[1], { address: "good", atMs: 10 + PROOF_HEAD_START_MS });
  assert.ok(scripted.aborted.includes("hangs"));
});

Deno.test("firstProven() lets one try that comes when the head start of another is over", async () => {
  const scripted = new Scripted({
    hangs: { dialMs: 10 },
    late: { dialMs: 2_000, proofMs: 10 },
  });
  assert.equal(await scripted.run(["hangs", "late"]), "late");
  assert.deepEqual(scripted.proofs[1], { address: "late", atMs: 2_000 });
});

Deno.test("firstProven() closes connections that stand and are not needed", async () => {
  const scripted = new Scripted({
    one: { dialMs: 10, proofMs: 500 },
    two: { dialMs: 20, proofMs: 10 },
  });
  assert.equal(await scripted.run(["one", "two"]), "one");
  assert.deepEqual(scripted.discarded, ["two"]);
});

Deno.test("firstProven() takes as long as it is given, for names that are slow to resolve", async () => {
  const { steps, timers } = new Scripted({ "slow:1": { dialMs: 5_500, proofMs: 600 } });
  const short = firstProven(["slow:1"], steps, new AbortController().signal);
  const long = firstProven(["slow:1"], { ...steps, timeMs: 20_000 }, new AbortController().signal);
  short.catch(() => {});
  await timers.pass(20_000);
  await assert.rejects(short, /no answer within 4 s/);
  assert.equal(await long, "slow:1");
});

Deno.test("firstProven() gives up after 4 s, and everything is closed", async () => {
  const scripted = new Scripted({ stands: { dialMs: 10 }, stuck: { dialMs: Infinity } });
  const errors: TransportError[] = [];
  firstProven(["stands", "stuck"], scripted.steps, new AbortController().signal)
    .catch((error) => void errors.push(error));
  await scripted.timers.pass(ATTEMPT_MS - 1);
  assert.deepEqual(errors, []);
  await scripted.timers.pass(1);
  assert.deepEqual(errors.map(({ name, code }) => [name, code]), [["TransportError", "lost"]]);
  assert.ok(scripted.aborted.includes("stands") && scripted.aborted.includes("stuck"));
  assert.equal(scripted.timers.pending, 0);
});

Deno.test("firstProven() tells the server's own refusal before anything else", async () => {
  const refused = new ResetError("revoked", "there", "web1 was revoked");
  const untrusted = new TransportError("untrusted", "its certificate is not of a pinned CA");
  const scripted = new Scripted({
    dead: { dialMs: 1, dialError: new Error("nobody listens") },
    stranger: { dialMs: 2, dialError: untrusted },
    server: { dialMs: 3, proofMs: 1, proofError: refused },
  });
  assert.equal(await scripted.run(["dead", "stranger", "server"]), refused);
  assert.equal(await scripted.run(["dead", "stranger"]), untrusted);
  assert.equal((await scripted.run(["dead"]) as Error).message, "nobody listens");
});

Deno.test("firstProven() tells a refusal also when another address hangs until the time is over", async () => {
  const refused = new ResetError("in_use", "there", "another living link has this key");
  const scripted = new Scripted({
    server: { dialMs: 3, proofMs: 1, proofError: refused },
    stuck: { dialMs: Infinity },
  });
  assert.equal(await scripted.run(["server", "stuck"]), refused);
});

Deno.test("firstProven() rejects with the signal's reason, before and in the middle", async () => {
  const early = new AbortController(), reason = new Error("stop");
  early.abort(reason);
  const scripted = new Scripted({ one: { dialMs: 10, proofMs: 10 } });
  assert.equal(await scripted.run(["one"], early.signal), reason);
  assert.deepEqual(scripted.dialled, []);
  const later = new AbortController();
  scripted.timers.after(15, () => later.abort(reason));
  assert.equal(await scripted.run(["one"], later.signal), reason);
  assert.equal(scripted.timers.pending, 0);
});

Deno.test("firstProven() of no address is an error and no wait", async () => {
  const scripted = new Scripted({});
  assert.ok(await scripted.run([]) instanceof TransportError);
});

Deno.test("firstProven() closes what comes when it is over, from whoever does not hear the signal", async () => {
  const timers = new FakeTimers(), discarded: string[] = [];
  const after = (ms: number, value: string): Promise<string> =>
    new Promise((resolve) => void timers.after(ms, () => resolve(value)));
  const proven = firstProven(["one", "two", "three"], {
    dial: (address) => after(address === "three" ? 3_000 : 10, address),
    prove: (address) => after(address === "one" ? 2_000 : 500, address),
    discard: (address) => void discarded.push(address),
    discardProven: (address) => void discarded.push(`proven ${address}`),
    timers,
  }, new AbortController().signal);
  await timers.pass(1_600);
  // The second one began after a head start of 1 s and was faster.
  assert.equal(await proven, "two");
  // Nothing of it waits any more but what does not hear the signal.
  assert.equal(timers.pending, 2);
  await timers.pass(3_000);
  assert.deepEqual(discarded, ["proven one", "three"]);
});
