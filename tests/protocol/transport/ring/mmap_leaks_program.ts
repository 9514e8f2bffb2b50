/**
 * Opens and closes connections over shared memory, alone in its process, and looks at what is left of each:
 * ends with an error if a file stays open or memory mapped. Its argument is the path of the socket.
 */
import assert from "node:assert/strict";
import { mmapRing } from "../../../../src/protocol/transport/ring/mmap.ts";
import { makeMemory, openMemory } from "../../../../src/protocol/transport/ring/mmap_memory.ts";
import { TransportError } from "../../../../src/protocol/transport/transport.ts";

const CONNECTIONS = 20;
/** Now and then the runtime opens a pair of sockets for itself. */
const SOCKETS_OF_THE_RUNTIME = 2;

async function openAndClose(path: string): Promise<void> {
  const listener = await mmapRing(path).listen();
  const before = openFiles();
  for (let turn = 0; turn < CONNECTIONS; turn++) {
    const [near, far] = await Promise.all([mmapRing(listener.address).connect(), listener.accept()]);
    await near.write(Uint8Array.of(1));
    assert.equal(await far?.read(new Uint8Array(9)), 1);
    // Both have it mapped; the listener has it open until it has heard the first bell.
    await until(() => openMemories() === 0);
    assert.equal(mappedMemories(), 2);
    near.close();
    far?.close();
    assert.equal(mappedMemories(), 0);
  }
  await until(() => openFiles() <= before + SOCKETS_OF_THE_RUNTIME);
  listener.close();
}

/** Here nothing else takes the number of the closed descriptor. */
function openClosed(): void {
  const made = makeMemory(8192);
  made.closeDescriptor();
  assert.throws(
    () => openMemory(Deno.pid, made.descriptor, 8192),
    (error) =>
      error instanceof TransportError && error.code === "lost" && /cannot be opened/.test(error.message),
  );
  made.unmap();
  assert.equal(mappedMemories(), 0);
}

async function until(isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo() && turn < 400; turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(isSo(), true);
}

/** Sockets and memories; what else the runtime opens for itself, such as its caches, comes and goes as it likes. */
function openFiles(): number {
  return linksOf(/^socket:|postern-ring/);
}

function openMemories(): number {
  return linksOf(/postern-ring \(deleted\)/);
}

function linksOf(pattern: RegExp): number {
  let found = 0;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      if (pattern.test(Deno.readLinkSync(`/proc/self/fd/${name}`))) found++;
    } catch {
      // The one by which the folder itself is read.
    }
  }
  return found;
}

function mappedMemories(): number {
  const lines = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return lines.filter((line) => line.includes("memfd:postern-ring")).length;
}

openClosed();
await openAndClose(Deno.args[0] ?? "");
