import assert from "node:assert/strict";
import type { CounterSource, CounterStep } from "../../../src/client/knock/counter.ts";
import {
  sendKnock,
  type SendKnockOptions,
  sendKnockWith,
  type SendMachine,
} from "../../../src/client/knock/send.ts";
import { formatKey, generateKey } from "../../../src/protocol/knock/key.ts";
import { Failure, UsageFailure } from "../../../src/system/failure.ts";
import { openRurocoPacket, rurocoIp } from "../../reference/ruroco.ts";
import { DatagramCatcher } from "../../e2e/datagram_catcher.ts";
import { TempFolder } from "./temp_folder.ts";

const KEY = formatKey(generateKey());
const OPTIONS: SendKnockOptions = { address: "host:81", key: KEY, command: "open_port" };

/** A machine that keeps a diary. `failing` are the addresses nothing can be sent to. */
class FakeMachine implements SendMachine {
  readonly diary: string[] = [];
  readonly packets: Uint8Array[] = [];
  failing: readonly string[] = [];
  warning: string | null = null;
  counterError: Error | null = null;
  #last = 100n;

  readonly counter: CounterSource = {
    next: (): Promise<CounterStep> => {
      if (this.counterError !== null) return Promise.reject(this.counterError);
      this.diary.push(`counter ${++this.#last}`);
      return Promise.resolve({ counter: this.#last, warning: this.warning });
    },
    peek: (): Promise<CounterStep> => Promise.resolve({ counter: this.#last + 1n, warning: this.warning }),
  };
  readonly lookup = (): Promise<{ address: string }[]> =>
    Promise.resolve([{ address: "192.0.2.1" }, { address: "2001:db8::1" }]);
  readonly fillRandom = (bytes: Uint8Array<ArrayBuffer>): void => void crypto.getRandomValues(bytes);
  readonly sendDatagram = (packet: Uint8Array, { ip, port }: { ip: string; port: number }): Promise<void> => {
    if (this.failing.includes(ip)) return Promise.reject(new Error(`no route to ${ip}`));
    this.diary.push(`send ${ip} ${port}`);
    this.packets.push(packet);
    return Promise.resolve();
  };
  readonly sleep = (ms: number): Promise<void> => {
    this.diary.push(`sleep ${ms}`);
    return Promise.resolve();
  };
}

Deno.test("sendKnock() uses up a counter before each packet, and pauses between them only", async () => {
  const machine = new FakeMachine();
  const report = await sendKnockWith(machine, { ...OPTIONS, sendDelayMs: 7 });
  assert.deepEqual(machine.diary, [
    "counter 101",
    "send 192.0.2.1 81",
    "sleep 7",
    "counter 102",
    "send 2001:db8::1 81",
  ]);
  assert.deepEqual(report, {
    command: "open_port",
    destinations: [
      { ip: "192.0.2.1", port: 81, counter: 101n, error: null },
      { ip: "2001:db8::1", port: 81, counter: 102n, error: null },
    ],
    warnings: [],
  });
});

Deno.test("sendKnock() gives each packet its own counter, nonce and destination", async () => {
  const machine = new FakeMachine();
  await sendKnockWith(machine, { ...OPTIONS, sourceIp: "198.51.100.7" });
  const opened = machine.packets.map((packet) => openRurocoPacket(KEY, packet));
  assert.deepEqual(opened.map((packet) => packet?.counter), [101n, 102n]);
  assert.deepEqual(opened.map((packet) => packet?.destinationIp), ["192.0.2.1", "2001:db8::1"].map(rurocoIp));
  assert.deepEqual(opened.map((packet) => packet?.sourceIp), Array(2).fill(rurocoIp("198.51.100.7")));
  assert.deepEqual(opened.map((packet) => packet?.strict), [true, true]);
  const nonces = machine.packets.map((packet) => packet.subarray(8, 20).toHex());
  assert.notEqual(nonces[0], nonces[1]);
});

Deno.test("sendKnock() carries a source address only if one is given, and strict unless permissive", async () => {
  const machine = new FakeMachine();
  await sendKnockWith(machine, { ...OPTIONS, family: 4 });
  await sendKnockWith(machine, { ...OPTIONS, family: 4, permissive: true });
  const opened = machine.packets.map((packet) => openRurocoPacket(KEY, packet));
  assert.deepEqual(opened.map((packet) => packet?.sourceIp), [null, null]);
  assert.deepEqual(opened.map((packet) => packet?.strict), [true, false]);
});

Deno.test("sendKnock() tries the rest when one destination fails, and reports it", async () => {
  for (const [failing, other] of [["192.0.2.1", "2001:db8::1"], ["2001:db8::1", "192.0.2.1"]] as const) {
    const machine = new FakeMachine();
    machine.failing = [failing];
    const { destinations } = await sendKnockWith(machine, OPTIONS);
    const errors = new Map(destinations.map(({ ip, error }) => [ip, error]));
    assert.equal(errors.get(failing), `no route to ${failing}`);
    assert.equal(errors.get(other), null);
    assert.equal(machine.packets.length, 1);
  }
});

Deno.test("sendKnock() lists each cause when all destinations fail", async () => {
  const machine = new FakeMachine();
  machine.failing = ["192.0.2.1", "2001:db8::1"];
  await assert.rejects(sendKnockWith(machine, OPTIONS), (error) => {
    assert(error instanceof Failure);
    assert.equal(
      error.message,
      "cannot knock on host:81: 192.0.2.1:81: no route to 192.0.2.1; [2001:db8::1]:81: no route to 2001:db8::1",
    );
    return true;
  });
});

Deno.test("sendKnock() sends nothing without a counter, and keeps the hint of its failure", async () => {
  const machine = new FakeMachine();
  machine.counterError = new Failure("cannot read counter file x", { hint: "postern client reseed" });
  await assert.rejects(sendKnockWith(machine, OPTIONS), (error) => {
    assert(error instanceof Failure);
    assert.equal(error.message, "cannot knock on host:81: cannot read counter file x");
    assert.equal(error.hint, "postern client reseed");
    return true;
  });
  assert.deepEqual(machine.packets, []);
});

Deno.test("sendKnock() passes a warning of the counter on, once", async () => {
  const machine = new FakeMachine();
  machine.warning = "far ahead";
  assert.deepEqual((await sendKnockWith(machine, OPTIONS)).warnings, ["far ahead"]);
});

Deno.test("sendKnock() with dryRun uses up no counter, sends nothing and does not pause", async () => {
  const machine = new FakeMachine();
  const { destinations } = await sendKnockWith(machine, { ...OPTIONS, dryRun: true });
  assert.deepEqual(destinations.map(({ counter, error }) => [counter, error]), [[101n, null], [101n, null]]);
  assert.deepEqual(machine.diary, []);
});

const REFUSED: Record<string, Partial<SendKnockOptions>> = {
  "a malformed key": { key: "SECRETSECRET" },
  "a malformed address": { address: "host:" },
  "a source address with a prefix length": { sourceIp: "192.0.2.0/24" },
  "a source address that is a name": { sourceIp: "host" },
  "the unspecified source address, which means none on the wire": { sourceIp: "::" },
};
for (const [what, change] of Object.entries(REFUSED)) {
  Deno.test(`sendKnock() refuses ${what} before anything is used up`, async () => {
    const machine = new FakeMachine();
    await assert.rejects(
      sendKnockWith(machine, { ...OPTIONS, ...change }),
      (error) => error instanceof UsageFailure && !error.message.includes("SECRET"),
    );
    assert.deepEqual(machine.diary, []);
  });
}

Deno.test("sendKnock() in parallel never repeats a counter", async () => {
  using catcher = new DatagramCatcher("127.0.0.1");
  const options = { address: `127.0.0.1:${catcher.port}`, key: KEY };
  const reports = await Promise.all(Array.from({ length: 20 }, () => sendKnock(options)));
  const counters = reports.flatMap((report) => report.destinations.map(({ counter }) => counter));
  assert.equal(new Set(counters).size, 20);
  const received = (await catcher.takeAll()).map((datagram) =>
    openRurocoPacket(KEY, datagram)?.counter ?? null
  );
  assert.deepEqual(new Set(received), new Set(counters));
});

Deno.test("sendKnock() shares the counter file of a config folder", async () => {
  using catcher = new DatagramCatcher("127.0.0.1");
  using folder = new TempFolder();
  const options = { address: `127.0.0.1:${catcher.port}`, key: KEY, configFolder: folder.path };
  await Promise.all([sendKnock(options), sendKnock(options), sendKnock(options)]);
  const counters = (await catcher.takeAll()).map((datagram) =>
    openRurocoPacket(KEY, datagram)?.counter ?? 0n
  );
  assert.equal(new Set(counters).size, 3);
  const stored = BigInt(`0x${(await Deno.readFile(`${folder.path}/counter`)).toHex()}`);
  assert.equal(stored, counters.reduce((a, b) => a > b ? a : b));
});
