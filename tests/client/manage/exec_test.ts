import assert from "node:assert/strict";
import { exec, type ExecOptions } from "../../../src/client/manage/exec.ts";
import type { ExecOutput } from "../../../src/protocol/manage/session_contract.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import { Failure } from "../../../src/system/failure.ts";
import { until } from "../../e2e/until.ts";
import { Collected } from "./collected.ts";
import { type ManageStage, manageStage } from "./manage_stage.ts";
import type { HostHandlers } from "./stand_in_server.ts";

type ExecHandler = NonNullable<HostHandlers["exec"]>;
const encoder = new TextEncoder();

interface Stage extends ManageStage {
  /** Runs a program on web1. */
  run(options?: Partial<ExecOptions>): Promise<number>;
}

/** A server with one host, web1. */
async function stage(handler: ExecHandler): Promise<Stage> {
  const on = await manageStage();
  await on.server.host("web1", { exec: handler });
  return {
    ...on,
    async run(options = {}): Promise<number> {
      return await exec(await on.open({ host: "web1" }), {
        host: "web1",
        command: ["true"],
        stdin: null,
        onStdout: () => assert.fail("nothing is printed"),
        onStderr: () => assert.fail("nothing is printed"),
        ...options,
      });
    },
  };
}

/** A program that takes all of its input, then says how much it was. */
async function* count(
  { command }: { readonly command: readonly string[] },
  items: AsyncIterable<Uint8Array<ArrayBuffer>>,
): AsyncIterableIterator<ExecOutput> {
  let bytes = 0, ends = 0;
  for await (const item of items) {
    bytes += item.length;
    if (item.length === 0) ends++;
  }
  yield { stdout: encoder.encode(`${command.join(" ")} ${bytes} ${ends}`) };
  yield { stderr: Uint8Array.of(0, 255, 10) };
  yield { exitCode: 7 };
}

/** Standard input of that many bytes. */
function source(bytes: number): ExecOptions["stdin"] {
  let left = bytes;
  return {
    read(buffer): Promise<number | null> {
      const count = Math.min(left, buffer.length);
      left -= count;
      return Promise.resolve(count === 0 ? null : count);
    },
  };
}

Deno.test("exec() passes input, both outputs and the exit code", async () => {
  await using on = await stage(count);
  const stdout = new Collected(), stderr = new Collected();
  const exitCode = await on.run({
    command: ["wc", "-c", "a b"],
    stdin: source(200_000),
    onStdout: stdout.take,
    onStderr: stderr.take,
  });
  assert.equal(exitCode, 7);
  assert.equal(stdout.text, "wc -c a b 200000 1");
  assert.equal(stderr.bytes, 3);
  assert.equal(on.server.sessions[0]?.open.action, "exec");
});

Deno.test("exec() gives the program the end of its input at once where there is none", async () => {
  await using on = await stage(count);
  const stdout = new Collected();
  await on.run({ onStdout: stdout.take, onStderr: (): void => {} });
  assert.equal(stdout.text, "true 0 1");
});

Deno.test("exec() passes 100 MB of input", async () => {
  await using on = await stage(count);
  const stdout = new Collected(), bytes = 100 * 1024 * 1024;
  const onStderr = (): void => {};
  assert.equal(await on.run({ stdin: source(bytes), onStdout: stdout.take, onStderr }), 7);
  assert.equal(stdout.text, `true ${bytes} 1`);
});

Deno.test("exec() ends when the program does, though standard input stays open", async () => {
  await using on = await stage(async function* (): AsyncGenerator<ExecOutput> {
    yield { exitCode: 0 };
  });
  assert.equal(await on.run({ stdin: { read: () => new Promise(() => {}) } }), 0);
});

Deno.test("exec() takes no more output than is printed", async () => {
  let sent = 0;
  await using on = await stage(async function* (): AsyncGenerator<ExecOutput> {
    for (; sent < 1_000; sent++) yield { stdout: new Uint8Array(16 * 1024) };
    yield { exitCode: 0 };
  });
  let go = (): void => {};
  const gate = new Promise<void>((resolve) => go = resolve);
  let printed = 0;
  const running = on.run({
    onStdout: async (bytes) => {
      printed += bytes.length;
      await gate;
    },
  });
  await until("the windows are full", () => {
    const before = sent;
    return new Promise<boolean>((resolve) => setTimeout(() => resolve(before > 0 && before === sent), 50));
  });
  assert(sent < 500, `${sent} items were sent ahead`);
  go();
  assert.equal(await running, 0);
  assert.equal(printed, 1_000 * 16 * 1024);
});

Deno.test("exec() ends the program on the host when it is given up", async () => {
  const ended = Promise.withResolvers<void>();
  await using on = await stage(async function* (_, _items, { signal }): AsyncGenerator<ExecOutput> {
    signal.addEventListener("abort", () => ended.resolve(), { once: true });
    yield { stdout: encoder.encode("begun") };
    await ended.promise;
  });
  const giveUp = new AbortController(), reason = new Error("Ctrl-C");
  const running = on.run({ signal: giveUp.signal, onStdout: () => giveUp.abort(reason) });
  await assert.rejects(running, reason);
  await ended.promise;
});

Deno.test("exec() says what happened when the link is lost in the middle", async () => {
  await using on = await stage(async function* (): AsyncGenerator<ExecOutput> {
    yield { stdout: encoder.encode("begun") };
    await new Promise(() => {});
  });
  const running = on.run({
    onStdout: () => on.server.links[0]?.link.close("shutting_down", "the server is restarted"),
  });
  await assert.rejects(running, (error: unknown) => {
    assert(error instanceof Failure);
    assert.match(error.message, /the server is restarted/);
    assert.match(error.message, /; what ran on web1 ends with its session$/);
    assert.equal(error.hint, "run the command again");
    return true;
  });
});

Deno.test("exec() sends whoever was revoked in the middle to the operator, and not to another attempt", async () => {
  await using on = await stage(async function* (): AsyncGenerator<ExecOutput> {
    yield { stdout: encoder.encode("begun") };
    await new Promise(() => {});
  });
  const running = on.run({ onStdout: () => on.server.links[0]?.link.close("revoked", "alice was revoked") });
  await assert.rejects(running, {
    message: "the server refuses: alice was revoked; what ran on web1 ends with its session",
    hint: "ask the operator of the server for a new invitation, then postern client join TOKEN",
  });
});

Deno.test("exec() says which side ended the session, and why", async () => {
  await using on = await stage(async function* (): AsyncGenerator<ExecOutput> {
    yield { stdout: encoder.encode("begun") };
    yield { ended: "expired", text: "the policy allows it until 18:00" };
  });
  await assert.rejects(
    on.run({ onStdout: (): void => {} }),
    { message: "web1 has ended the program: the policy allows it until 18:00" },
  );
});

Deno.test("exec() says that the host refuses the command", async () => {
  await using on = await stage(() => {
    throw new ApplicationError("refused_by_host", "agent.toml allows no such command");
  });
  await assert.rejects(on.run(), { message: "web1 refuses: agent.toml allows no such command" });
});

Deno.test("exec() fails where the session ends without an exit code", async () => {
  await using on = await stage(async function* (): AsyncGenerator<ExecOutput> {
    yield { stdout: encoder.encode("begun") };
  });
  await assert.rejects(on.run({ onStdout: (): void => {} }), {
    message: "web1 ended the session without an exit code",
  });
});

Deno.test("exec() says that standard input cannot be read", async () => {
  await using on = await stage(count);
  await assert.rejects(on.run({ stdin: brokenSource() }), isBrokenInput);
});

Deno.test("exec() says so, too, where the program takes it for the end of its input", async () => {
  await using on = await stage(async function* (_, items): AsyncGenerator<ExecOutput> {
    try {
      for await (const _item of items);
    } catch {
      // As `cat` would have it.
    }
    yield { exitCode: 0 };
  });
  await assert.rejects(on.run({ stdin: brokenSource() }), isBrokenInput);
});

function brokenSource(): ExecOptions["stdin"] {
  return { read: () => Promise.reject(new Error("is a directory")) };
}

function isBrokenInput(error: unknown): true {
  assert(error instanceof Failure);
  assert.equal(error.message, "cannot read standard input");
  assert.equal((error.cause as Error).message, "is a directory");
  return true;
}

Deno.test("exec() passes every byte of its input, however it comes in pieces", async () => {
  const sum = crypto.getRandomValues(new Uint8Array(60_000));
  const sent = new Collected(), arrived = new Collected();
  await using on = await stage(async function* (_, items): AsyncGenerator<ExecOutput> {
    for await (const item of items) arrived.take(item);
    yield { exitCode: 0 };
  });
  let piece = 0;
  const read = (buffer: Uint8Array): Promise<number | null> => {
    piece++;
    if (piece > 100) return Promise.resolve(null);
    // Nothing is no end.
    const part = sum.subarray(piece, piece % 7 === 0 ? piece : piece * 599);
    buffer.set(part);
    sent.take(part);
    return Promise.resolve(part.length);
  };
  assert.equal(await on.run({ stdin: { read } }), 0);
  assert.equal(arrived.bytes, sent.bytes);
  assert.deepEqual(arrived.all, sent.all);
});

Deno.test("exec() ends the program when nobody takes its output", async () => {
  const ended = Promise.withResolvers<void>();
  await using on = await stage(async function* (_, _items, { signal }): AsyncGenerator<ExecOutput> {
    signal.addEventListener("abort", () => ended.resolve(), { once: true });
    yield { stdout: encoder.encode("y") };
    await ended.promise;
  });
  const broken = new Deno.errors.BrokenPipe("nobody reads");
  await assert.rejects(on.run({ onStdout: () => Promise.reject(broken) }), broken);
  await ended.promise;
});
