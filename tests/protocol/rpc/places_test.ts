import assert from "node:assert/strict";
import { backoffMs, MAX_BACKOFF_MS } from "../../../src/protocol/rpc/backoff.ts";
import { RpcError } from "../../../src/protocol/rpc/errors.ts";
import {
  onePlace,
  type Place,
  type PlaceHolder,
  type Places,
  placesForMany,
} from "../../../src/protocol/rpc/places.ts";
import { addressToPublish, strangersReach } from "../../../src/protocol/rpc/reach.ts";
import { settled } from "./fake_timers.ts";

/** A peer whose answers a test decides. */
class FakeHolder implements PlaceHolder {
  readonly closed: Promise<unknown>;
  readonly closedWith: (string | undefined)[] = [];
  readonly pings: (number | undefined)[] = [];
  /** Whether its connection ends some time after it was closed. */
  lingers = false;
  #end: () => void = () => {};
  #answer = Promise.withResolvers<number>();

  constructor() {
    this.closed = new Promise<void>((resolve) => this.#end = resolve);
  }

  ping(timeoutMs?: number): Promise<number> {
    this.pings.push(timeoutMs);
    return this.#answer.promise;
  }

  close(reason?: string): void {
    this.closedWith.push(reason);
    if (!this.lingers) this.#end();
  }

  /** Ends at last, where it lingered. */
  end(): void {
    this.#end();
  }

  answer(): void {
    this.#answer.resolve(1);
    this.#answer = Promise.withResolvers();
  }

  stayMute(): void {
    this.#answer.reject(new RpcError("deadline_exceeded", "no answer"));
    this.#answer = Promise.withResolvers();
  }
}

async function granted(places: Places): Promise<Place> {
  const answer = await places.ask();
  assert(typeof answer !== "string", String(answer));
  return answer;
}

Deno.test("onePlace() gives one place; given back or left, it is free again", async () => {
  const places = onePlace();
  const first = await granted(places);
  assert.equal(await places.ask(), "taken", "promised counts");
  first.giveBack();
  first.giveBack();
  const second = await granted(places), holder = new FakeHolder();
  second.occupy(holder);
  second.giveBack();
  const asked = places.ask();
  await settled();
  holder.answer();
  assert.equal(await asked, "taken");
  assert.deepEqual(holder.pings, [3_000]);
  holder.close();
  await settled();
  await granted(places);
  assert.equal(holder.pings.length, 1, "nobody is pinged for a free place");
});

Deno.test("onePlace() pings a ghost once for all who ask; one of them gets its place", async () => {
  const places = onePlace(), ghost = new FakeHolder();
  ghost.lingers = true;
  (await granted(places)).occupy(ghost);
  const asked = [places.ask(), places.ask(), places.ask()];
  await settled();
  ghost.stayMute();
  const answers = await Promise.all(asked);
  assert.equal(ghost.pings.length, 1);
  assert.deepEqual(ghost.closedWith, ["silent"]);
  assert.deepEqual(answers.map((each) => typeof each === "string" ? each : "place"), [
    "place",
    "taken",
    "taken",
  ]);
  // The end of the ghost's connection comes late and frees nobody else's place.
  const heir = new FakeHolder();
  (answers[0] as Place).occupy(heir);
  ghost.end();
  await settled();
  const late = places.ask();
  await settled();
  heir.answer();
  assert.equal(await late, "taken");
});

Deno.test("placesForMany() counts those who are promised a place and those who have one", async () => {
  const places = placesForMany(2), holder = new FakeHolder();
  (await granted(places)).occupy(holder);
  const second = await granted(places);
  assert.equal(await places.ask(), "too_many_connections");
  second.giveBack();
  second.giveBack();
  const third = await granted(places);
  assert.equal(await places.ask(), "too_many_connections");
  holder.close();
  await settled();
  await granted(places);
  assert.equal(await places.ask(), "too_many_connections");
  third.giveBack();
});

Deno.test("backoffMs() draws from a span that doubles up to ten seconds", () => {
  const highest = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(0xff);
  const lowest = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length);
  const spans = [0, 1, 2, 6, 7, 100, 5_000].map((failures) => Math.round(backoffMs(failures, highest)));
  assert.deepEqual(spans, [100, 200, 400, 6_400, 10_000, 10_000, MAX_BACKOFF_MS]);
  assert.equal(backoffMs(5, lowest), 0);
  assert.equal(backoffMs(1, (length) => new Uint8Array(length).fill(0x80)), 200 * 0x80808080 / 2 ** 32);
});

Deno.test("strangersReach() is false only for what stays within the machine", () => {
  const within: readonly (readonly [string, string])[] = [
    ["memory", "memory-1"],
    ["unix", "/run/x.sock"],
    ["tcp", "127.0.0.1:80"],
    ["tcp", "127.9.8.7:80"],
    ["tcp", "[::1]:80"],
    ["tcp", "localhost:80"],
    ["web-socket", "ws://127.0.0.1:80/path"],
    ["web-socket", "ws://[::1]:80/"],
  ];
  const beyond: readonly (readonly [string, string])[] = [
    ["tcp", "0.0.0.0:80"],
    ["tcp", "[::]:80"],
    ["tcp", "192.0.2.1:80"],
    ["tcp", "127.0.0.1.example:80"],
    ["tcp", "localhost.example:80"],
    ["tls", "host.example:443"],
    ["vsock", "3:5000"],
    ["web-socket", "ws://192.0.2.1:80/127.0.0.1"],
    ["web-socket", "wss://host.example/@127.0.0.1:80"],
    ["someone's", "whatever"],
    ["tcp", ""],
  ];
  for (const [transport, address] of within) assert(!strangersReach(transport, address), address);
  for (const [transport, address] of beyond) assert(strangersReach(transport, address), address);
});

Deno.test("addressToPublish() names loopback for a listener on all addresses, and nothing else", () => {
  assert.equal(addressToPublish("0.0.0.0:80"), "127.0.0.1:80");
  assert.equal(addressToPublish("[::]:80"), "[::1]:80");
  assert.equal(addressToPublish("ws://0.0.0.0:80/rpc"), "ws://127.0.0.1:80/rpc");
  for (const address of ["10.0.0.0:80", "127.0.0.1:80", "[fe80::]:80", "/run/0.0.0.0:80", "3:5000"]) {
    assert.equal(addressToPublish(address), address);
  }
});
