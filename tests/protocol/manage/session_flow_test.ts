/** A whole session between an administrator and a host: open, answer, keys, records, calls. */
import assert from "node:assert/strict";
import { CHALLENGE_BYTES } from "../../../src/protocol/manage/session_open.ts";
import type { hostForAdmin, ShellInput, ShellOutput } from "../../../src/protocol/manage/session_contract.ts";
import { sessionPeer } from "../../../src/protocol/manage/session_flow.ts";
import { SessionExchange, type SessionKeys, sessionKeys } from "../../../src/protocol/manage/session_keys.ts";
import {
  answerOpen,
  decodeOpen,
  signOpen,
  verifyAnswer,
  verifyOpen,
} from "../../../src/protocol/manage/session_open.ts";
import type { Handlers } from "../../../src/protocol/rpc/contract.ts";
import { RpcError } from "../../../src/protocol/rpc/errors.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { loadRecordCipher } from "../../../src/system/record_cipher.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { adminKey, type Bytes, hostKey } from "./manage_identities.ts";
import { ScriptedSide } from "./link_sides.ts";

const timers = systemTimers;
const unused = (): never => {
  throw new Error("not in this test");
};

/** Opens a session as the two sides do it; what the server carries is given back. */
async function agreed(): Promise<{ admin: SessionKeys; host: SessionKeys; open: Bytes; answer: Bytes }> {
  const mine = await SessionExchange.create(systemRandomBytes);
  const bytes = await signOpen({
    action: "shell",
    outlivesLink: false,
    session: systemRandomBytes(8).toHex(),
    hostKey: hostKey.publicKey,
    linkNonce: systemRandomBytes(32),
    challenge: systemRandomBytes(CHALLENGE_BYTES),
    expiresMs: 10_000,
    ephemeral: mine.publicKey,
    targets: [],
  }, adminKey);

  const open = decodeOpen(bytes);
  assert(await verifyOpen(open));
  const theirs = await SessionExchange.create(systemRandomBytes);
  const answer = await answerOpen(open.bytes, theirs.publicKey, hostKey);
  const host = sessionKeys(await theirs.agree(open.ephemeral), open.bytes, answer);

  const admin = sessionKeys(await mine.agree(await verifyAnswer(decodeOpen(bytes), answer)), bytes, answer);
  return { admin, host, open: bytes, answer };
}

const echo: Handlers<typeof hostForAdmin> = {
  async *shell(start, items): AsyncGenerator<ShellOutput> {
    yield new TextEncoder().encode(`${start.rows}x${start.columns} `);
    for await (const item of items) {
      yield item instanceof Uint8Array ? item : new TextEncoder().encode(`${item.rows}x${item.columns} `);
    }
    yield { exitCode: 7 };
  },
  exec: unused,
  connect: unused,
};

Deno.test("sessionPeer() carries a shell between two sides that agreed on keys", async () => {
  const keys = await agreed();
  assert.deepEqual(keys.admin, keys.host);
  const [here, there] = memoryPair();
  const host = sessionPeer(there, keys.host, { side: "host", handlers: echo, timers });
  const admin = sessionPeer(here, keys.admin, { side: "administrator", timers });
  async function* typed(): AsyncGenerator<ShellInput> {
    yield new TextEncoder().encode("ls\n");
    yield { rows: 5, columns: 6 };
  }
  let shown = "", exitCode = -1;
  const start = { rows: 24, columns: 80, term: "xterm", seenBytes: 0 };
  for await (const output of admin.client.shell(start, typed())) {
    if (output instanceof Uint8Array) shown += new TextDecoder().decode(output);
    else if ("exitCode" in output) exitCode = output.exitCode;
  }
  assert.deepEqual([shown, exitCode], ["24x80 ls\n5x6 ", 7]);
  await admin.drain();
  await host.closed;
});

Deno.test("sessionPeer() shows nothing of what is said to whoever carries it", async () => {
  const keys = await agreed();
  const [here, there] = memoryPair(), server = new ScriptedSide(there);
  const admin = sessionPeer(here, keys.admin, { side: "administrator", timers });
  const call = admin.client.exec({ command: ["a-secret-program", "a-secret-argument"] }, []);
  const first = call.next();
  const seen = await server.hear(40);
  assert(!new TextDecoder().decode(seen).includes("secret"));
  there.close();
  await assert.rejects(first, RpcError);
  await admin.closed;
});

Deno.test("sessionPeer() ends as tampered when the server changes, repeats or turns around what it carries", async () => {
  for (const attack of ["change", "repeat", "reflect"] as const) {
    const keys = await agreed();
    const [here, left] = memoryPair(), [right, there] = memoryPair();
    const host = sessionPeer(there, keys.host, { side: "host", handlers: echo, timers });
    const admin = sessionPeer(here, keys.admin, { side: "administrator", timers });
    const call = admin.client.shell({ rows: 24, columns: 80, term: "xterm", seenBytes: 0 }, []);
    const first = assert.rejects(call.next(), RpcError);
    const server = new ScriptedSide(left), header = await server.hear(4);
    const body = await server.hear(new DataView(header.buffer).getUint32(0));
    if (attack === "reflect") {
      await left.write(header);
      await left.write(body);
      assert.equal((await admin.closed).reason, "tampered");
      right.close();
      await host.closed;
    } else {
      if (attack === "repeat") {
        await right.write(header);
        await right.write(body);
      } else {
        body[0] = (body[0] ?? 0) ^ 1;
      }
      await right.write(header);
      await right.write(body);
      assert.equal((await host.closed).reason, "tampered");
      left.close();
      await admin.closed;
    }
    await first;
    left.close();
    right.close();
  }
});

Deno.test("sessionPeer() of keys that differ, as when the server puts its own exchange in between, says nothing", async () => {
  const [mine, others] = [await agreed(), await agreed()];
  assert.notDeepEqual(mine.admin, others.host);
  const [here, there] = memoryPair();
  const host = sessionPeer(there, others.host, { side: "host", handlers: echo, timers });
  const admin = sessionPeer(here, mine.admin, { side: "administrator", timers });
  const call = admin.client.shell({ rows: 24, columns: 80, term: "xterm", seenBytes: 0 }, []);
  await assert.rejects(call.next(), RpcError);
  assert.equal((await host.closed).reason, "tampered");
  await admin.closed;
});

Deno.test("sessionPeer() refuses values that are not of the contract, whichever side sends them", async () => {
  const keys = await agreed();
  const [here, there] = memoryPair();
  const host = sessionPeer(there, keys.host, {
    side: "host",
    timers,
    handlers: {
      shell: () => [new Uint8Array(0)],
      exec: () => [{ ended: "revoked" as const, text: "\u001b]0;owned\u0007" }],
      connect: unused,
    },
  });
  const admin = sessionPeer(here, keys.admin, { side: "administrator", timers });
  const refused = (error: unknown): boolean => error instanceof RpcError && error.code === "invalid_argument";
  const start = { rows: 24, columns: 80, term: "xterm", seenBytes: 0 };
  await assert.rejects(admin.client.shell({ ...start, term: "x;id" }, []).next(), refused);
  await assert.rejects(admin.client.shell(start, []).next(), refused);
  await assert.rejects(admin.client.exec({ command: ["x"] }, []).next(), refused);
  await assert.rejects(admin.client.connect({ host: "a b", port: 1 }, []).next(), refused);
  await admin.drain();
  await host.closed;
});

Deno.test("sessionPeer() carries items whose memory is used again for the next one, with a cipher of its own on one side", async () => {
  const keys = await agreed(), [here, there] = memoryPair();
  const count = 20, bytes = 64 * 1024;
  const host = sessionPeer(there, keys.host, {
    side: "host",
    handlers: {
      shell: unused,
      exec: unused,
      async *connect(_start, items): AsyncGenerator<Bytes> {
        for await (const item of items) yield Uint8Array.of(item[0] ?? 0, item.at(-1) ?? 0);
      },
    },
    timers,
  });
  const admin = sessionPeer(here, keys.admin, {
    side: "administrator",
    timers,
    cipher: await loadRecordCipher(),
  });
  const buffer = new Uint8Array(bytes);
  async function* same(): AsyncGenerator<Bytes> {
    for (let at = 0; at < count; at++) yield buffer.fill(at);
  }
  const found: number[][] = [];
  for await (const item of admin.client.connect({ host: "localhost", port: 1 }, same())) {
    found.push([...item]);
  }
  assert.deepEqual(found, Array.from({ length: count }, (_, at) => [at, at]));
  await admin.drain();
  await host.closed;
});
