import assert from "node:assert/strict";
import { FRAME_KINDS } from "../../../src/protocol/rpc/frame.ts";
import { encodeHandshakeFrame } from "../../../src/protocol/rpc/handshake_frame.ts";
import { asSignedProcess, type HandshakePolicy } from "../../../src/protocol/rpc/handshake_policy.ts";
import { encodeHello, type Hello } from "../../../src/protocol/rpc/hello.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/rpc/limits.ts";
import {
  PeerRefusal,
  type PeerVerifier,
  type VerifiedProcess,
} from "../../../src/protocol/rpc/peer_verifier.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
import { FakeTimers, settled } from "./fake_timers.ts";
import { bothOf, math, outcomeOf, refusalIn, sideOf } from "./handshake_sides.ts";
import { readExactly, readToEnd, type Tap, tapped } from "./tapped_connection.ts";

const FOUND = "the program at /home/somebody/tool";

interface Looks {
  readonly log: string[];
  readonly policy: HandshakePolicy;
}

/** A verifier that writes down what had travelled when it looked, and throws where it is told to. */
function looking(tap: Tap, throws: { verify?: Error; confirm?: Error } = {}): Looks {
  const log: string[] = [];
  const look = (name: string, error: Error | undefined): void => {
    log.push(`${name} after ${tap.written.dialler.length} and ${tap.written.listener.length} frames`);
    if (error !== undefined) throw error;
  };
  const verifier: PeerVerifier = {
    async verify(): Promise<VerifiedProcess> {
      await Promise.resolve();
      look("verify", throws.verify);
      return {
        executablePath: "/usr/bin/tool",
        async confirm(): Promise<void> {
          await Promise.resolve();
          look("confirm", throws.confirm);
        },
      };
    },
  };
  return { log, policy: { ...asSignedProcess(), verifier } };
}

Deno.test("signed process: the listener looks before its nonce is sent, and again once it was answered", async () => {
  const tap = tapped();
  const { log, policy } = looking(tap);
  const { dialler, listener } = await bothOf(tap, { policy: asSignedProcess() }, { policy });
  assert.deepEqual(log, ["verify after 1 and 0 frames", "confirm after 2 and 1 frames"]);
  assert.equal(listener.result?.peer.authenticated, "process");
  assert.equal(listener.result?.peer.executablePath, "/usr/bin/tool");
  assert.equal(dialler.result?.peer.authenticated, "none");
  assert.equal(dialler.result?.peer.executablePath, null);
});

for (const at of ["verify", "confirm"] as const) {
  Deno.test(`signed process: a process refused by ${at} is told so on both sides, without what was found`, async () => {
    const tap = tapped();
    const { policy } = looking(tap, { [at]: new PeerRefusal(FOUND) });
    const { words, dialler, listener } = await bothOf(tap, { policy: asSignedProcess() }, { policy });
    assert.deepEqual(words, { dialler: "process_not_signed there", listener: "process_not_signed here" });
    assert.ok((listener.error as Error).message.includes(FOUND));
    assert.ok(!(dialler.error as Error).message.includes(FOUND));
    // Whoever is refused at first gets no nonce.
    assert.equal(tap.written.listener.length, at === "verify" ? 1 : 2);
  });
}

Deno.test("signed process: a machine that cannot look says so here and nothing of it there", async () => {
  const tap = tapped();
  const { policy } = looking(tap, { verify: new TransportError("permission", "it needs --allow-all") });
  const { words, listener } = await bothOf(tap, { policy: asSignedProcess() }, { policy });
  assert.deepEqual(words, { dialler: "internal there", listener: "internal here" });
  const { message, cause } = listener.error as Error;
  assert.equal(message, "could not shake hands: it needs --allow-all");
  assert.ok(cause instanceof TransportError && cause.code === "permission");
});

Deno.test("signed process: an answer to another nonce is refused, and nobody looks again", async () => {
  const tap = tapped();
  const { log, policy } = looking(tap);
  const refused = outcomeOf(sideOf("listener", tap.listener, { policy }));
  const hello: Hello = {
    mode: "signed-process",
    role: "dialler",
    confidential: false,
    told: DEFAULT_LIMITS,
    codecId: "json",
    serves: null,
    calls: math.hash,
    service: "",
    applicationVersion: "",
    nonce: new Uint8Array(32).fill(1),
  };
  await tap.dialler.write(encodeHandshakeFrame(FRAME_KINDS.hello, encodeHello(hello)));
  await readExactly(tap.dialler, 280);
  await tap.dialler.write(encodeHandshakeFrame(FRAME_KINDS.proof, new Uint8Array(32)));
  assert.equal(refusalIn(await readToEnd(tap.dialler)), "authentication_failed");
  tap.dialler.close();
  assert.equal((await refused).words, "authentication_failed here");
  assert.equal(log.length, 1);
});

Deno.test("signed process: looking takes no longer than the handshake may, and is called off", async () => {
  const tap = tapped();
  const timers = new FakeTimers();
  let isCalledOff = false;
  const verifier: PeerVerifier = {
    verify: (_connection, signal) =>
      new Promise((_, reject) =>
        signal.addEventListener("abort", () => {
          isCalledOff = true;
          reject(signal.reason);
        })
      ),
  };
  const policy: HandshakePolicy = { ...asSignedProcess(), verifier };
  const outcome = bothOf(tap, { policy: asSignedProcess(), timers }, { policy, timers });
  await settled();
  await timers.pass(DEFAULT_LIMITS.handshakeTimeoutMs);
  const { words } = await outcome;
  assert.equal(words.listener, "handshake_timeout here");
  assert.ok(isCalledOff);
  assert.equal(timers.pending, 0);
});
