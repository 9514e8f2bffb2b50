import assert from "node:assert/strict";
import fc from "fast-check";
import { holds } from "../../../property.ts";
import { OutputRing } from "../../../../src/commander/agent/sessions/output_ring.ts";

Deno.test("OutputRing holds the last bytes of everything that was pushed", () => {
  holds(
    fc.property(
      fc.integer({ min: 1, max: 40_000 }),
      fc.array(fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 30_000 })), { maxLength: 12 }),
      fc.nat(),
      fc.nat(),
      (capacity, lengths, from, length) => {
        const ring = new OutputRing(capacity);
        let all = new Uint8Array(0), next = 0;
        for (const pushed of lengths) {
          const bytes = Uint8Array.from({ length: pushed }, () => next++ * 31 % 251);
          ring.push(bytes);
          all = Uint8Array.from([...all, ...bytes]);
          assert.equal(ring.endBytes, all.length);
          assert.equal(ring.startBytes, Math.max(0, all.length - capacity));
          const place = ring.startBytes + from % (ring.endBytes - ring.startBytes + 1);
          const wanted = 1 + length % 30_000;
          assert.deepEqual(ring.read(place, wanted), all.slice(place, place + wanted));
        }
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("OutputRing gives copies, and nothing where there is nothing", () => {
  const ring = new OutputRing(4);
  assert.deepEqual(ring.read(0, 10), new Uint8Array(0));
  ring.push(new Uint8Array(0));
  ring.push(Uint8Array.of(1, 2, 3));
  const read = ring.read(1, 10);
  ring.push(Uint8Array.of(4, 5, 6));
  assert.deepEqual(read, Uint8Array.of(2, 3));
  assert.deepEqual(ring.read(ring.startBytes, 10), Uint8Array.of(3, 4, 5, 6));
});
