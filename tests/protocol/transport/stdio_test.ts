import assert from "node:assert/strict";
import { transportConformance } from "../../../src/protocol/transport/conformance.ts";
import { childStdio } from "../../../src/protocol/transport/stdio.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { unix } from "../../../src/protocol/transport/unix.ts";

const relay = new URL("stdio_relay.ts", import.meta.url).pathname;
const folder = Deno.makeTempDirSync();
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
let exits: Promise<void>[] = [];

/** The parent's end, and the end of the Unix socket behind the child. */
async function childPair(): Promise<readonly [Connection, Connection]> {
  const path = `${folder}/relay`;
  const listener = await unix(path).listen();
  const exited = Promise.withResolvers<void>();
  exits.push(exited.promise);
  const child = await childStdio({
    command: Deno.execPath(),
    args: ["run", "--no-check", "-A", relay, path],
    onExit: () => exited.resolve(),
  }).connect();
  const behind = await listener.accept();
  listener.close();
  if (behind === null) throw new Error("the child did not connect");
  return [child, behind];
}

for (const { name, run } of transportConformance(childPair, { connections: 8, maxBufferedBytes: 4 << 20 })) {
  Deno.test({
    name: `childStdio() and stdio() ${name}`,
    timeout: 60_000,
    async fn(): Promise<void> {
      exits = [];
      await run();
      await Promise.all(exits);
    },
  });
}

/** Starts a child that runs a piece of code; tells how it ended. */
async function start(
  code: string,
  exitGraceMs: number,
): Promise<{ connection: Connection; exited: Promise<Deno.CommandStatus> }> {
  const exited = Promise.withResolvers<Deno.CommandStatus>();
  const connection = await childStdio({
    command: "sh",
    args: ["-c", code],
    exitGraceMs,
    onExit: (status) => exited.resolve(status),
  }).connect();
  return { connection, exited: exited.promise };
}

Deno.test("childStdio() tells with which code the child has ended", async () => {
  const { connection, exited } = await start("exit 3", 1000);
  await assert.rejects(connection.read(new Uint8Array(1)), {
    code: "lost",
    message: /it has ended with code 3$/,
  });
  // The first thing that a caller of a program that ends at once sees: otherwise it reads of a broken pipe.
  await assert.rejects(connection.write(new Uint8Array(1 << 20)), {
    code: "lost",
    message: /it has ended with code 3$/,
  });
  connection.close();
  assert.equal((await exited).code, 3);
});

Deno.test("childStdio() notices the end of the child also when a grandchild keeps the pipes open", async () => {
  const { connection, exited } = await start("sleep 5 2>/dev/null & exit 0", 1000);
  await assert.rejects(connection.read(new Uint8Array(1)), {
    code: "lost",
    message: /it has ended with code 0$/,
  });
  connection.close();
  await exited;
});

Deno.test("childStdio() lets a child end by itself when its pipes are closed", async () => {
  const { connection, exited } = await start("cat >/dev/null; exit 7", 5000);
  connection.close();
  assert.equal((await exited).code, 7);
});

Deno.test("childStdio() ends a child that does not end by itself, and kills one that will not be ended", async () => {
  const polite = await start("exec sleep 60", 50);
  polite.connection.close();
  assert.equal((await polite.exited).signal, "SIGTERM");
  const stubborn = await start("trap '' TERM; echo the trap is set; while :; do sleep 0.05; done", 50);
  // Only what it prints says that the trap is set.
  await assert.rejects(stubborn.connection.read(new Uint8Array(1)));
  stubborn.connection.close();
  assert.equal((await stubborn.exited).signal, "SIGKILL");
});

Deno.test("childStdio() tells what it suspects when the child prints to its standard output", async () => {
  const { connection, exited } = await start("echo ready to serve; cat >/dev/null", 1000);
  await assert.rejects(connection.read(new Uint8Array(1)), {
    code: "lost",
    message: /prints to its standard output/,
  });
  connection.close();
  await exited;
});

Deno.test("childStdio() says refused when there is no such program, and unsupported when asked to listen", async () => {
  await assert.rejects(childStdio({ command: "/nowhere/at-all" }).connect(), { code: "refused" });
  await assert.rejects(childStdio({ command: "sh" }).listen(), { code: "unsupported" });
});

Deno.test({
  name: "childStdio() names the flag when the permission is missing",
  permissions: "none",
  async fn(): Promise<void> {
    await assert.rejects(childStdio({ command: "/bin/true" }).connect(), {
      code: "permission",
      message: /run it with --allow-run=\/bin\/true$/,
    });
  },
});

Deno.test("stdio() gives its one connection once", async () => {
  const url = new URL("../../../src/protocol/transport/stdio.ts", import.meta.url).href;
  const code = `const { stdio } = await import("${url}"); await stdio().connect();
    await stdio().connect().catch((error) => console.error(error.code));
    await stdio().listen().catch((error) => console.error(error.code)); Deno.exit(0);`;
  const { stderr } = await new Deno.Command(Deno.execPath(), { args: ["eval", "--no-check", code] }).output();
  assert.equal(new TextDecoder().decode(stderr), "refused\naddress\n");
});
