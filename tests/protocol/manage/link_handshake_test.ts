import assert from "node:assert/strict";
import { joinBytes, u16, u32, u8 } from "../../../src/protocol/manage/byte_fields.ts";
import { controlPeer, encodeControlOpen } from "../../../src/protocol/manage/control_flow.ts";
import {
  encodeFrame,
  FRAME_TYPES,
  MAX_PARAMETER_BYTES,
  OPEN_HEAD_BYTES,
} from "../../../src/protocol/manage/frame.ts";
import { tokenHash } from "../../../src/protocol/manage/join_token.ts";
import type { DiallerRole, LinkKind } from "../../../src/protocol/manage/link_hello.ts";
import { RESET_CODES, type ResetCode, ResetError } from "../../../src/protocol/manage/reset_code.ts";
import type { IncomingFlow } from "../../../src/protocol/manage/running_link.ts";
import { FakeTimers } from "../rpc/fake_timers.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { systemTimers } from "../../../src/protocol/rpc/timers.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import vectors from "../../vectors/manage-link.json" with { type: "json" };
import {
  accept,
  answerHello,
  certificate,
  dial,
  keyOf,
  proofOf,
  refusedAs,
  sayHello,
  ScriptedSide,
  secret,
} from "./link_sides.ts";
import { adminKey, hex, hostKey } from "./manage_identities.ts";

assert(vectors.links.length === 4, "no vectors were loaded");

const CONTROL_FLOW = 1;
const onOpen = (flow: IncomingFlow): void => flow.refuse("internal", "not in this test");

for (const vector of vectors.links) {
  const kind = vector.kind as LinkKind, role = vector.role as DiallerRole;

  Deno.test(`dialLink() says and takes the bytes of the vector "${kind} of a ${role}"`, async () => {
    const [here, there] = memoryPair(), server = new ScriptedSide(there);
    const dialled = dial(here, {
      kind,
      role,
      serverCertificate: hex(vector.certificate),
      secret: vector.secret === null ? undefined : hex(vector.secret),
      random: () => hex(vector.nonce),
    });
    assert.equal((await server.hear(vector.hello.length / 2)).toHex(), vector.hello);
    await server.say(hex(vector.answer));
    assert.equal((await server.hear(vector.prove.length / 2)).toHex(), vector.prove);
    const open = await server.hearFrame();
    assert.deepEqual([open.type, open.flow, open.data[0]], [FRAME_TYPES.open, CONTROL_FLOW, 1]);
    assert.equal(open.data.subarray(OPEN_HEAD_BYTES).toHex(), vector.controlParameters);
    await server.say(
      encodeFrame(FRAME_TYPES.opened, CONTROL_FLOW, joinBytes(u32(1000), hex(vector.openedParameters))),
    );
    const { link, name, linkNonce } = await dialled;
    assert.deepEqual([name, linkNonce.toHex()], [vector.name, vector.nonce]);
    there.close();
    await link.closed;
  });

  Deno.test(`acceptLink() says and takes the bytes of the vector "${kind} of a ${role}"`, async () => {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    const accepted = accept(here, {
      serverCertificate: hex(vector.certificate),
      random: () => hex(vector.serverNonce),
    });
    await dialler.say(hex(vector.hello));
    assert.equal((await dialler.hear(vector.answer.length / 2)).toHex(), vector.answer);
    await dialler.say(hex(vector.prove));
    const proven = await accepted;
    assert.deepEqual([proven.kind, proven.role], [kind, role]);
    assert.deepEqual(proven.key, keyOf(role).publicKey);
    assert.equal(proven.linkNonce.toHex(), vector.nonce);
    assert.deepEqual(proven.secretHash, vector.secret === null ? null : tokenHash(hex(vector.secret)));
    const taken = proven.accept({ name: vector.name, onOpen });
    const window = u32(1000);
    await dialler.say(
      encodeFrame(FRAME_TYPES.open, CONTROL_FLOW, joinBytes(u8(1), window, hex(vector.controlParameters))),
    );
    const opened = await dialler.hearFrame();
    assert.deepEqual([opened.type, opened.flow], [FRAME_TYPES.opened, CONTROL_FLOW]);
    assert.equal(opened.data.subarray(4).toHex(), vector.openedParameters);
    const { link } = await taken;
    there.close();
    await link.closed;
  });

  Deno.test(`dialLink() and acceptLink() make a link of a ${kind} of a ${role}, both of whose ends can call`, async () => {
    const [here, there] = memoryPair();
    const serving = accept(there).then(async (proven) => {
      assert.deepEqual(proven.secretHash, kind === "join" ? tokenHash(secret) : null);
      return { proven, ...await proven.accept({ name: "web1", onOpen }) };
    });
    const dialled = await dial(here, { kind, role });
    const { proven, link, control } = await serving;
    assert.deepEqual(proven.linkNonce, dialled.linkNonce);
    assert.equal(dialled.name, "web1");
    await callBothWays(role, dialled.control, control);
    dialled.link.close("shutting_down", "");
    assert.equal((await link.closed).code, "shutting_down");
    await dialled.link.closed;
  });
}

async function callBothWays(
  role: DiallerRole,
  dialler: Parameters<typeof controlPeer>[0],
  listener: Parameters<typeof controlPeer>[0],
): Promise<void> {
  const head = { number: 1, hash: new Uint8Array(32), signature: new Uint8Array(64) };
  const unused = (): never => {
    throw new Error("not in this test");
  };
  const timers = systemTimers;
  if (role === "host") {
    const host = controlPeer(dialler, {
      role: "dialler",
      side: "host",
      timers,
      handlers: { ping: () => null, challenge: () => new Uint8Array(16).fill(5), end: unused, pin: unused },
    });
    const server = controlPeer(listener, {
      role: "listener",
      side: "host",
      timers,
      handlers: { register: unused, pinned: unused, ended: () => head },
    });
    assert.deepEqual(await server.client.challenge(null), new Uint8Array(16).fill(5));
    const ended = { ending: "done", exitCode: 0, bytesIn: 1, bytesOut: 2, durationMs: 3 } as const;
    assert.deepEqual(await host.client.ended({ session: "0011223344556677", ...ended }), head);
    await host.drain();
    await server.closed;
  } else {
    const admin = controlPeer(dialler, {
      role: "dialler",
      side: "administrator",
      timers,
      handlers: { ended: () => null, pin: unused },
    });
    const server = controlPeer(listener, {
      role: "listener",
      side: "administrator",
      timers,
      handlers: { hosts: () => [], watchHosts: unused, prepare: unused, sessions: () => [] },
    });
    assert.deepEqual(await admin.client.hosts(null), []);
    assert.equal(await server.client.ended(head), null);
    await admin.drain();
    await server.closed;
  }
}

Deno.test("dialLink() and acceptLink() make a link whatever the pieces in which the bytes arrive", async () => {
  for (const pieceBytes of [1, 2, 5, 71, 73]) {
    const [here, there] = memoryPair();
    const serving = accept(inPieces(there, pieceBytes)).then((proven) =>
      proven.accept({ name: "web1", onOpen })
    );
    const dialled = await dial(inPieces(here, pieceBytes), { kind: "join" });
    const { link } = await serving;
    assert.equal(dialled.name, "web1");
    link.close("shutting_down", "");
    assert.equal((await dialled.link.closed).code, "shutting_down");
    await link.closed;
  }
});

function inPieces(connection: Connection, pieceBytes: number): Connection {
  return {
    transport: connection.transport,
    remoteAddress: null,
    localAddress: null,
    confidential: true,
    read: (buffer) => connection.read(buffer.subarray(0, pieceBytes)),
    write: (bytes) => connection.write(bytes),
    closeWrite: () => connection.closeWrite(),
    close: () => connection.close(),
  };
}

Deno.test("dialLink() sends its proof and the open of the control flow in one write, without waiting", async () => {
  const [here, there] = memoryPair(), server = new ScriptedSide(there);
  const writes: number[] = [];
  const tapped = {
    ...{ transport: "memory", remoteAddress: null, localAddress: null, confidential: true },
    read: (buffer: Uint8Array<ArrayBuffer>) => here.read(buffer),
    write: (bytes: Uint8Array) => {
      writes.push(bytes.length);
      return here.write(bytes);
    },
    closeWrite: () => here.closeWrite(),
    close: () => here.close(),
  };
  const dialled = dial(tapped);
  await answerHello(server);
  const prove = await server.hearFrame(), open = await server.hearFrame();
  assert.deepEqual([prove.type, open.type], [FRAME_TYPES.prove, FRAME_TYPES.open]);
  assert.deepEqual(writes, [72, prove.bytes.length + open.bytes.length]);
  there.close();
  await assert.rejects(dialled, refusedAs("lost"));
});

for (const code of ["authentication", "token", "revoked", "in_use", "internal"] as const) {
  Deno.test(`dialLink() is refused as ${code} when the proven server says so`, async () => {
    const [here, there] = memoryPair();
    const serving = accept(there).then((proven) => proven.refuse(code, "because of \u001b[2J this"));
    await assert.rejects(dial(here, { kind: "join" }), (error: unknown) => {
      refusedAs(code, "there")(error);
      assert(error instanceof ResetError && error.message === "because of ?[2J this", String(error));
      return true;
    });
    await serving;
  });
}

for (const code of Object.keys(RESET_CODES) as ResetCode[]) {
  Deno.test(`dialLink() does not take "${code}" from a server that has not proven itself for more than it is`, async () => {
    const believed = ["version", "malformed", "exhausted", "shutting_down", "silent", "internal"];
    const [here, there] = memoryPair(), server = new ScriptedSide(there);
    const dialled = dial(here);
    await server.hearFrame();
    const text = new TextEncoder().encode("\u001b[2J no");
    await server.say(encodeFrame(FRAME_TYPES.reset, 0, joinBytes(u16(RESET_CODES[code]), text)));
    await assert.rejects(dialled, (error: unknown) => {
      refusedAs(believed.includes(code) ? code : "lost", "there")(error);
      assert(error instanceof ResetError && error.message.endsWith("?[2J no"), String(error));
      return true;
    });
    assert.equal((await server.hearAll()).length, 0);
  });
}

Deno.test("ProvenDialler.accept() refuses a dialler with other calls, and says what both need", async () => {
  for (
    const parameters of [
      encodeControlOpen("administrator"),
      joinBytes(u8(2), encodeControlOpen("host").subarray(1)),
      joinBytes(u8(1), new Uint8Array(32)),
    ]
  ) {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    const accepted = accept(here);
    const { transcript } = await sayHello(dialler);
    await dialler.say(await proofOf(transcript));
    const taken = (await accepted).accept({ name: "web1", onOpen });
    await dialler.say(encodeFrame(FRAME_TYPES.open, CONTROL_FLOW, joinBytes(u8(1), u32(1000), parameters)));
    const { code, text } = await dialler.hearReset();
    assert.equal(code, "version");
    assert.match(text, /the server refuses: this program (?:speaks|has) .*(?:, it accepts) [0-9a-f]/);
    await assert.rejects(taken, refusedAs("version", "here"));
    there.close();
  }
});

Deno.test("ProvenDialler.accept() wants the control flow first, and dialler and server one only", async () => {
  {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    const accepted = accept(here);
    const { transcript } = await sayHello(dialler);
    await dialler.say(await proofOf(transcript));
    const taken = (await accepted).accept({ name: "web1", onOpen });
    const open = joinBytes(u8(2), u32(1000), encodeControlOpen("host"));
    await dialler.say(encodeFrame(FRAME_TYPES.open, CONTROL_FLOW, open));
    assert.equal((await dialler.hearReset()).code, "malformed");
    await assert.rejects(taken, refusedAs("malformed", "here"));
    there.close();
  }
  const [here, there] = memoryPair();
  const serving = accept(there).then((proven) => proven.accept({ name: "web1", onOpen }));
  const dialled = await dial(here), served = await serving;
  await assert.rejects(
    dialled.link.open("control", encodeControlOpen("host")),
    refusedAs("malformed", "there"),
  );
  await assert.rejects(
    served.link.open("control", encodeControlOpen("host")),
    refusedAs("malformed", "there"),
  );
  await assert.rejects(dialled.link.open("session", new Uint8Array(0)), refusedAs("internal", "there"));
  served.link.close("shutting_down", "");
  await Promise.all([served.link.closed, dialled.link.closed]);
});

Deno.test("parameters that are too long are no link, at either end", async () => {
  const long = joinBytes(
    u8(1),
    u32(1000),
    encodeControlOpen("host"),
    new Uint8Array(MAX_PARAMETER_BYTES - 32),
  );
  {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    const accepted = accept(here);
    const { transcript } = await sayHello(dialler);
    await dialler.say(await proofOf(transcript));
    const taken = (await accepted).accept({ name: "web1", onOpen });
    await dialler.say(encodeFrame(FRAME_TYPES.open, CONTROL_FLOW, long));
    assert.equal((await dialler.hearReset()).code, "malformed");
    await assert.rejects(taken, refusedAs("malformed", "here"));
    there.close();
  }
  const [here, there] = memoryPair(), server = new ScriptedSide(there);
  const dialled = dial(here);
  await answerHello(server);
  await server.hearFrame();
  await server.hearFrame();
  await server.say(encodeFrame(FRAME_TYPES.opened, CONTROL_FLOW, long));
  assert.equal((await server.hearReset()).code, "malformed");
  there.close();
  await assert.rejects(dialled, refusedAs("malformed", "here"));
});

Deno.test("ProvenDialler.accept() refuses to call somebody by what is no name", async () => {
  const [here, there] = memoryPair();
  const serving = accept(there);
  const dialled = assert.rejects(dial(here), refusedAs("internal"));
  const proven = await serving;
  await assert.rejects(proven.accept({ name: "No Name", onOpen }), TypeError);
  await proven.refuse("internal", "no name");
  await dialled;
});

Deno.test("dialLink() refuses a server that calls it by what is no name", async () => {
  for (const name of ["", "Bad Name", "\u001b[2J", "a".repeat(65), "a".repeat(500)]) {
    const [here, there] = memoryPair(), server = new ScriptedSide(there);
    const dialled = dial(here);
    await answerHello(server);
    await server.hearFrame();
    await server.hearFrame();
    const opened = joinBytes(u32(1000), new TextEncoder().encode(name));
    const heard = server.hearFrame();
    await server.say(encodeFrame(FRAME_TYPES.opened, CONTROL_FLOW, opened));
    await heard;
    there.close();
    await assert.rejects(dialled, refusedAs("malformed", "here"), name);
  }
});

Deno.test("dialLink() refuses options that contradict each other, and says nothing to anybody", async () => {
  const cases = [
    { serverCertificate: new Uint8Array(0) },
    { kind: "join" as const, secret: undefined },
    { kind: "join" as const, secret: new Uint8Array(31) },
    { kind: "link" as const, secret },
  ];
  for (const options of cases) {
    const [here, there] = memoryPair();
    await assert.rejects(dial(here, options), TypeError);
    assert.equal((await new ScriptedSide(there).hearAll()).length, 0);
  }
});

Deno.test("dialLink() gives up with the signal's reason, before, during and after the hellos", async () => {
  // No time passes: nothing but the signal ends it.
  const reason = new Error("enough"), timers = new FakeTimers();
  {
    const [here, there] = memoryPair();
    await assert.rejects(dial(here, { signal: AbortSignal.abort(reason), timers }), reason);
    assert.equal((await new ScriptedSide(there).hearAll()).length, 0);
  }
  for (const answers of [false, true]) {
    const [here, there] = memoryPair(), server = new ScriptedSide(there), controller = new AbortController();
    const dialled = assert.rejects(dial(here, { signal: controller.signal, timers }), reason);
    if (answers) {
      await answerHello(server);
      await server.hearFrame();
    } else {
      await server.hearFrame();
    }
    controller.abort(reason);
    await dialled;
    await server.hearAll();
    assert.equal(timers.pending, 0);
  }
});

Deno.test("dialLink() does nothing at a signal that is aborted when the link stands", async () => {
  const [here, there] = memoryPair(), controller = new AbortController();
  const serving = accept(there).then((proven) => proven.accept({ name: "web1", onOpen }));
  const { link } = await dial(here, { signal: controller.signal, key: hostKey });
  const served = await serving;
  controller.abort(new Error("too late"));
  await assert.rejects(link.open("session", new Uint8Array(0)), refusedAs("internal", "there"));
  assert(link.isOpen && served.link.isOpen);
  link.close("shutting_down", "");
  await Promise.all([link.closed, served.link.closed]);
});

Deno.test("a link of one key and role is not one of another", async () => {
  const [here, there] = memoryPair();
  const serving = accept(there);
  const dialled = dial(here, { role: "administrator", key: hostKey });
  const proven = await serving;
  assert.deepEqual([proven.role, proven.key], ["administrator", hostKey.publicKey]);
  assert.notDeepEqual(proven.key, adminKey.publicKey);
  await proven.refuse("authentication", "the key is not known");
  await assert.rejects(dialled, refusedAs("authentication", "there"));
  assert(certificate.length > 0);
});
