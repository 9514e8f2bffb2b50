import assert from "node:assert/strict";
import { memoryPair } from "../../../../src/protocol/transport/memory.ts";
import { MmapLink } from "../../../../src/protocol/transport/ring/mmap_link.ts";
import type { Connection } from "../../../../src/protocol/transport/transport.ts";

const MAPPING = { memory: new ArrayBuffer(0), unmap: (): void => {} };

/** A socket whose writes settle when the test says so. */
function slowSocket(socket: Connection): { readonly slow: Connection; readonly writes: (() => void)[] } {
  const writes: (() => void)[] = [];
  const slow: Connection = {
    transport: socket.transport,
    remoteAddress: null,
    localAddress: null,
    confidential: true,
    read: (buffer) => socket.read(buffer),
    write: () => new Promise<void>((resolve) => writes.push(resolve)),
    closeWrite: () => socket.closeWrite(),
    close: () => socket.close(),
  };
  return { slow, writes };
}

Deno.test("MmapLink.wake() rings again when it was asked to while a bell was under way, and only once", async () => {
  const [near, far] = memoryPair();
  const { slow, writes } = slowSocket(near);
  const link = new MmapLink(slow, MAPPING, () => {});
  link.wake();
  assert.equal(writes.length, 1);
  link.wake();
  link.wake();
  assert.equal(writes.length, 1);
  writes[0]?.();
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(writes.length, 2);
  writes[1]?.();
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(writes.length, 2);
  link.wake();
  assert.equal(writes.length, 3);
  link.close();
  far.close();
});

Deno.test("MmapLink tells of the first bell once, wakes with each, and is gone with the socket", async () => {
  const [near, far] = memoryPair();
  let unmapped = 0, firstBells = 0;
  const mapping = { memory: new ArrayBuffer(0), unmap: (): void => void unmapped++ };
  const link = new MmapLink(near, mapping, () => firstBells++);
  for (let bell = 0; bell < 3; bell++) {
    const sleeping = link.sleep();
    await far.write(new Uint8Array(1));
    await sleeping;
    assert.equal(firstBells, 1);
    assert.equal(link.gone, false);
  }
  const sleeping = link.sleep();
  far.close();
  await sleeping;
  assert.equal(link.gone, true);
  assert.equal(unmapped, 0);
  link.close();
  assert.equal(unmapped, 1);
});
