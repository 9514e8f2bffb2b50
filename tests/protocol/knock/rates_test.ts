import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { type RateRefusal, RequestRates } from "../../../src/protocol/knock/rates.ts";
import { holds } from "../../property.ts";

const limits = { perPeer: 2, perKey: 3, global: 5 };

type Step = readonly [atMs: number, peer: string, keyId: bigint, verdict: null | RateRefusal];

function play(rates: RequestRates, steps: readonly Step[]): void {
  for (const [i, [atMs, peer, keyId, verdict]] of steps.entries()) {
    assert.equal(rates.admit(parseIp(peer), keyId, atMs), verdict, `step ${i} at ${atMs} ms`);
  }
}

Deno.test("a peer's window rolls: each admission leaves it a second after it was made", () => {
  play(new RequestRates(limits), [
    [0, "192.0.2.1", 1n, null],
    [600, "192.0.2.1", 1n, null],
    [601, "192.0.2.1", 1n, "peer_rate"],
    [999, "192.0.2.1", 1n, "peer_rate"],
    [999.9, "192.0.2.1", 1n, "peer_rate"],
    [1000, "192.0.2.1", 1n, null], // that of 0 ms has left, that of 600 ms has not
    [1001, "192.0.2.1", 1n, "peer_rate"],
    [1599, "192.0.2.1", 1n, "peer_rate"], // a window that starts anew each second would admit it
    [1600, "192.0.2.1", 1n, null],
    [1601, "192.0.2.1", 1n, "peer_rate"],
    [9000, "192.0.2.1", 1n, null],
  ]);
});

Deno.test("refused packets are not counted: who keeps asking is served when his window allows", () => {
  const rates = new RequestRates(limits);
  play(rates, [[0, "192.0.2.1", 1n, null], [0, "192.0.2.1", 1n, null]]);
  for (let atMs = 1; atMs < 1000; atMs++) {
    assert.equal(rates.admit(parseIp("192.0.2.1"), 1n, atMs), "peer_rate");
  }
  play(rates, [[1000, "192.0.2.1", 1n, null]]);
});

Deno.test("a key's window counts all its peers, and a packet over one limit counts against no other", () => {
  play(new RequestRates(limits), [
    [0, "192.0.2.1", 1n, null],
    [0, "192.0.2.2", 1n, null],
    [0, "192.0.2.3", 1n, null],
    [1, "192.0.2.4", 1n, "key_rate"],
    [1, "192.0.2.5", 1n, "key_rate"],
    [2, "192.0.2.4", 2n, null],
    [2, "192.0.2.4", 2n, null],
    [3, "192.0.2.4", 2n, "peer_rate"],
    [3, "192.0.2.6", 3n, "global_rate"],
    [1000, "192.0.2.4", 1n, null], // not counted for this peer while it was over the key's limit
    [1000, "192.0.2.4", 1n, null],
    [1001, "192.0.2.4", 1n, "peer_rate"],
    [1001, "192.0.2.4", 2n, "peer_rate"], // its two of 2 ms are still there
    [1002, "192.0.2.4", 2n, null],
  ]);
});

Deno.test("a peer's window is one for each key: who holds another key cannot use up a victim's by his address", () => {
  play(new RequestRates(limits), [
    [0, "192.0.2.1", 2n, null],
    [0, "192.0.2.1", 2n, null],
    [1, "192.0.2.1", 2n, "peer_rate"],
    [1, "192.0.2.1", 1n, null],
    [1, "192.0.2.1", 1n, null],
    [2, "192.0.2.1", 1n, "peer_rate"],
  ]);
});

Deno.test("the first limit that is over is named: peer, then key, then global", () => {
  const rates = new RequestRates({ perPeer: 1, perKey: 1, global: 1 });
  play(rates, [
    [0, "192.0.2.1", 1n, null],
    [0, "192.0.2.1", 1n, "peer_rate"],
    [0, "192.0.2.2", 1n, "key_rate"],
    [0, "192.0.2.2", 2n, "global_rate"],
  ]);
});

Deno.test("a limit of 0 refuses all", () => {
  play(new RequestRates({ ...limits, perPeer: 0 }), [[0, "192.0.2.1", 1n, "peer_rate"]]);
  play(new RequestRates({ ...limits, perKey: 0 }), [[0, "192.0.2.1", 1n, "key_rate"]]);
  play(new RequestRates({ ...limits, global: 0 }), [[0, "192.0.2.1", 1n, "global_rate"]]);
});

Deno.test("setLimits() counts what was admitted before against the new limits", () => {
  const rates = new RequestRates(limits);
  play(rates, [[0, "192.0.2.1", 1n, null], [0, "192.0.2.1", 1n, null]]);
  rates.setLimits({ perPeer: 3, perKey: 3, global: 5 });
  play(rates, [[1, "192.0.2.1", 1n, null], [1, "192.0.2.1", 1n, "peer_rate"]]);
  rates.setLimits({ perPeer: 9, perKey: 9, global: 1 });
  play(rates, [[2, "192.0.2.2", 2n, "global_rate"], [999, "192.0.2.2", 2n, "global_rate"]]);
  play(rates, [[1001, "192.0.2.2", 2n, null]]);
});

Deno.test("IPv4 and its mapped IPv6 form are one peer", () => {
  play(new RequestRates(limits), [
    [0, "192.0.2.1", 1n, null],
    [0, "::ffff:192.0.2.1", 1n, null],
    [0, "::ffff:c000:201", 1n, "peer_rate"],
  ]);
});

Deno.test("memory is bounded by the global limit, however many peers ask", () => {
  const rates = new RequestRates({ perPeer: 2, perKey: 1000, global: 100 });
  for (let i = 0; i < 50_000; i++) {
    rates.admit(parseIp(`10.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}`), 1n, i / 5);
    assert(rates.trackedPairs <= 100);
  }
  assert(rates.trackedPairs > 0);
  rates.admit(parseIp("192.0.2.1"), 1n, 1e6);
  assert.equal(rates.trackedPairs, 1);
});

Deno.test("admit() agrees with counting through a list of all admissions", () => {
  const peers = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(parseIp);
  const steps = fc.array(fc.record({ waitMs: fc.nat(400), peer: fc.nat(2), keyId: fc.bigInt(1n, 2n) }), {
    maxLength: 300,
    size: "max",
  });
  holds(fc.property(steps, (asked) => {
    const rates = new RequestRates(limits);
    const admitted: { atMs: number; peer: string; keyId: bigint }[] = [];
    let nowMs = 0;
    for (const { waitMs, peer: peerNumber, keyId } of asked) {
      nowMs += waitMs;
      const peer = peers[peerNumber] ?? parseIp("::1");
      const recent = admitted.filter(({ atMs }) => atMs > nowMs - 1000);
      const expected = recent.filter((one) =>
          one.peer === peer && one.keyId === keyId
        ).length >= limits.perPeer
        ? "peer_rate"
        : recent.filter((one) => one.keyId === keyId).length >= limits.perKey
        ? "key_rate"
        : recent.length >= limits.global
        ? "global_rate"
        : null;
      assert.equal(rates.admit(peer, keyId, nowMs), expected);
      if (expected === null) {
        admitted.push({ atMs: nowMs, peer, keyId });
      }
    }
  }));
});
