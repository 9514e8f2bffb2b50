import assert from "node:assert/strict";
import { mmapRing } from "../../../../src/protocol/transport/ring/mmap.ts";
import {
  decodeMmapHello,
  encodeMmapHello,
  MMAP_HELLO_BYTES,
} from "../../../../src/protocol/transport/ring/mmap_hello.ts";
import { unsupportedSystem } from "../../../../src/protocol/transport/ring/mmap_libc.ts";
import { makeMemory, openMemory } from "../../../../src/protocol/transport/ring/mmap_memory.ts";
import { pairBytes, ringsIn } from "../../../../src/protocol/transport/ring/ring.ts";
import {
  type Connection,
  type Listener,
  TransportError,
  type TransportError as TransportErrorType,
} from "../../../../src/protocol/transport/transport.ts";
import { unix } from "../../../../src/protocol/transport/unix.ts";
import { privateFolder } from "./private_folder.ts";

const folder = privateFolder();
const problem = unsupportedSystem(Deno.build.os, Deno.build.arch);
let sockets = 0;

function freshPath(): string {
  return `${folder}/${++sockets}.sock`;
}

/** Each has a limit, because a death that is not noticed would be waited for without an end. */
function testMemory(name: string, fn: () => Promise<void> | void): void {
  const skipped = problem === null ? "" : ` (skipped: ${problem})`;
  Deno.test({ name: `${name}${skipped}`, ignore: problem !== null, timeout: 20_000, fn });
}

function code(expected: TransportErrorType["code"], message = /./): (error: unknown) => boolean {
  return (error) => error instanceof TransportError && error.code === expected && message.test(error.message);
}

async function withListener(act: (listener: Listener) => Promise<void>): Promise<void> {
  const listener = await mmapRing(freshPath()).listen();
  try {
    await act(listener);
  } finally {
    listener.close();
  }
}

/** Starts the program beside this file, which dials the path and does what it is told. */
function dialler(path: string, act: string): Deno.ChildProcess {
  const program = new URL("./mmap_dialler_program.ts", import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), { args: ["run", "--allow-all", program, path, act] }).spawn();
}

async function readAll(connection: Connection): Promise<number> {
  const buffer = new Uint8Array(1 << 20);
  let got = 0;
  for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
    got += count;
  }
  return got;
}

Deno.test("unsupportedSystem() names what is supported: Linux on the processors whose numbers were looked up", () => {
  assert.equal(unsupportedSystem("linux", "x86_64"), null);
  assert.equal(unsupportedSystem("linux", "aarch64"), null);
  assert.match(unsupportedSystem("linux", "riscv64") ?? "", /x86_64 or aarch64, this is riscv64/);
  assert.match(unsupportedSystem("darwin", "aarch64") ?? "", /Linux, this is darwin/);
  assert.match(unsupportedSystem("windows", "x86_64") ?? "", /Linux, this is windows/);
});

testMemory(
  "mmapRing() carries 64 MiB between two processes and ends with both",
  () =>
    withListener(async (listener) => {
      const child = dialler(listener.address, "send");
      const connection = await listener.accept();
      assert.ok(connection !== null);
      assert.equal(await readAll(connection), 64 << 20);
      await connection.write(Uint8Array.of(1));
      connection.close();
      assert.equal((await child.status).code, 0);
    }),
);

testMemory(
  "mmapRing() gives what a process wrote before it was killed, and then is lost",
  () =>
    withListener(async (listener) => {
      const child = dialler(listener.address, "write and hang");
      const connection = await listener.accept();
      assert.ok(connection !== null);
      const buffer = new Uint8Array(1000);
      for (let got = 0; got < 1000;) {
        got += await connection.read(buffer) ?? assert.fail("the end came first");
      }
      const reading = connection.read(buffer);
      const writing = connection.write(new Uint8Array(1 << 20));
      child.kill("SIGKILL");
      await assert.rejects(reading, code("lost"));
      await assert.rejects(writing, code("lost"));
      connection.close();
      await child.status;
    }),
);

testMemory(
  "mmapRing() closes the connection of a process that writes impossible indexes",
  () =>
    withListener(async (listener) => {
      // HEAD, writer's state, TAIL, reader's state of the two rings, as the listener looks at them.
      for (const [ring, word] of [[0, 0], [0, 1], [1, 16], [1, 17]] as const) {
        const accepting = listener.accept();
        const socket = await unix(listener.address).connect();
        const hello = decodeMmapHello(await read40(socket));
        const mapping = openMemory(hello.pid, hello.descriptor, 64 + pairBytes(hello.ringBytes));
        const words = ringsIn(mapping.memory, 64, hello.ringBytes)[ring].words;
        const connection = await accepting;
        assert.ok(connection !== null);
        Atomics.store(words, word, 0x4000_0001);
        const act = ring === 0 ? connection.read(new Uint8Array(9)) : connection.write(new Uint8Array(9));
        await assert.rejects(act, code("tampered"));
        await assert.rejects(connection.read(new Uint8Array(9)), code("closed"));
        // What the other side still has mapped stays its own.
        Atomics.store(words, word, 0);
        mapping.unmap();
        socket.close();
      }
    }),
);

async function read40(socket: Connection): Promise<Uint8Array<ArrayBuffer>> {
  const hello = new Uint8Array(MMAP_HELLO_BYTES);
  for (let got = 0; got < hello.length;) {
    got += await socket.read(hello.subarray(got)) ?? assert.fail("the end came first");
  }
  return hello;
}

testMemory(
  "mmapRing() survives a flood of bells and a socket that ends in the middle",
  () =>
    withListener(async (listener) => {
      const accepting = listener.accept();
      const socket = await unix(listener.address).connect();
      const connection = await accepting;
      assert.ok(connection !== null);
      const reading = connection.read(new Uint8Array(1));
      await socket.write(crypto.getRandomValues(new Uint8Array(60_000)));
      socket.close();
      await assert.rejects(reading, code("lost"));
      connection.close();
    }),
);

testMemory("openMemory() takes only sealed memory of the right size that another process really has", () => {
  const made = makeMemory(8192);
  const mapping = openMemory(Deno.pid, made.descriptor, 8192);
  new Uint8Array(made.memory)[8191] = 7;
  assert.equal(new Uint8Array(mapping.memory)[8191], 7);
  const file = Deno.makeTempFileSync({ dir: folder });
  Deno.truncateSync(file, 8192);
  assert.throws(() => openMemory(Deno.pid, made.descriptor, 4096), code("lost", /right size/));
  assert.throws(() => openMemory(Deno.pid, made.descriptor, 12_288), code("lost", /right size/));
  made.closeDescriptor();
  assert.throws(() => openMemory(0, 0, 8192), code("lost", /cannot be opened/));
  using opened = Deno.openSync(file, { read: true, write: true });
  assert.equal(opened.statSync().size, 8192);
  assert.throws(() => openMemory(Deno.pid, fileNumber(file), 8192), code("lost", /no sealed memory/));
  mapping.unmap();
  made.unmap();
});

/** Number of the file that this process has open at that path. */
function fileNumber(path: string): number {
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      if (Deno.readLinkSync(`/proc/self/fd/${name}`) === path) return Number(name);
    } catch {
      // The one by which the folder itself is read.
    }
  }
  return assert.fail("the file is not open");
}

testMemory("unmap() leaves nothing behind, not even a view of it", () => {
  const made = makeMemory(8192);
  const view = new Uint8Array(made.memory);
  assert.equal(view.length, 8192);
  made.unmap();
  made.unmap();
  assert.equal(view.length, 0);
  assert.equal(view[0], undefined);
});

testMemory("mmapRing() leaves no file open and nothing mapped when its connections are closed", async () => {
  // A process of its own: tests run side by side in this one, and all of them open files.
  const program = new URL("./mmap_leaks_program.ts", import.meta.url).pathname;
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", program, freshPath()],
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});

testMemory("mmapRing() refuses a folder that others can enter, and a path that is none", async () => {
  const open = `${folder}/open`;
  Deno.mkdirSync(open);
  for (const mode of [0o755, 0o710, 0o701, 0o770]) {
    Deno.chmodSync(open, mode);
    await assert.rejects(mmapRing(`${open}/s`).listen(), code("address", /mode 0700/));
    await assert.rejects(mmapRing(`${open}/s`).connect(), code("address", /mode 0700/));
  }
  Deno.chmodSync(open, 0o700);
  (await mmapRing(`${open}/s`).listen()).close();
  Deno.symlinkSync(open, `${folder}/link`);
  await assert.rejects(mmapRing(`${folder}/link/s`).listen(), code("address", /mode 0700/));
  await assert.rejects(mmapRing(`${folder}/nowhere/s`).listen(), code("address", /no folder/));
  await assert.rejects(mmapRing("relative.sock").listen(), code("address", /from \/ on/));
  await assert.rejects(mmapRing().connect(), code("address", /no path/));
});

const isRoot = problem === null && Deno.uid() === 0;

Deno.test({
  name: `mmapRing() refuses a folder of another user${
    isRoot ? "" : " (skipped: only root can give a folder away)"
  }`,
  ignore: !isRoot,
  async fn(): Promise<void> {
    const others = `${folder}/others`;
    Deno.mkdirSync(others, { mode: 0o700 });
    Deno.chownSync(others, 65_534, 65_534);
    await assert.rejects(mmapRing(`${others}/s`).listen(), code("address", /mode 0700/));
    await assert.rejects(mmapRing(`${others}/s`).connect(), code("address", /mode 0700/));
  },
});

testMemory(
  "mmapRing() gives up a listener that says nothing, something else, or names memory that is not meant",
  async () => {
    const path = freshPath();
    const listener = await unix(path).listen();
    const made = makeMemory(64 + pairBytes(4096));
    const hello = {
      pid: Deno.pid,
      descriptor: made.descriptor,
      ringBytes: 4096,
      token: new Uint8Array(16).fill(1),
    };
    const answers: readonly [Uint8Array, RegExp][] = [
      [new Uint8Array(0), /said nothing for 50 ms/],
      [encodeMmapHello(hello).subarray(0, 39), /said nothing for 50 ms/],
      [new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), /something else/],
      [encodeMmapHello(hello), /another one's/],
    ];
    for (const [answer, message] of answers) {
      const connecting = mmapRing(path, { setupTimeoutMs: 50 }).connect();
      connecting.catch(() => {});
      const socket = await listener.accept();
      await socket?.write(answer);
      await assert.rejects(connecting, code("refused", message));
      socket?.close();
    }
    const connecting = mmapRing(path).connect();
    connecting.catch(() => {});
    (await listener.accept())?.close();
    await assert.rejects(connecting, code("refused", /closed the socket at once/));
    made.unmap();
    listener.close();
  },
);

for (
  const [flags, expected] of [
    [
      ["--allow-read", "--allow-write", "--allow-net"],
      "permission: cannot share memory between processes: it needs --allow-ffi",
    ],
    [
      ["--allow-ffi=/lib", "--allow-read", "--allow-write", "--allow-net"],
      "permission: cannot share memory between processes: it needs --allow-ffi",
    ],
    [["--allow-ffi"], "permission: cannot share memory: it needs --allow-read="],
    [["--allow-ffi", "--allow-read"], "permission: cannot "],
    [["--allow-ffi", "--allow-read", "--allow-write", "--allow-net"], "no error"],
  ] as const
) {
  testMemory(`mmapRing() with ${flags.join(" ")} alone: ${expected}`, async () => {
    const program = new URL("./mmap_listener_program.ts", import.meta.url).pathname;
    const args = ["run", "--no-prompt", ...flags, program, freshPath()];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    const told = new TextDecoder().decode(stdout);
    assert.ok(told.startsWith(expected), `${told}${new TextDecoder().decode(stderr)}`);
  });
}
