/** Ours, over the transports of the library: JSON where bodies are text, views where they are bytes. */
import type { Codec } from "../../src/protocol/rpc/codec.ts";
import { call, contract } from "../../src/protocol/rpc/contract.ts";
import { giveBack } from "../../src/protocol/rpc/give_back.ts";
import { type HandshakePolicy, noHandshake } from "../../src/protocol/rpc/handshake_policy.ts";
import { hmac } from "../../src/protocol/rpc/hmac_handshake.ts";
import { implement } from "../../src/protocol/rpc/implement.ts";
import { jsonCodec } from "../../src/protocol/rpc/json_codec.ts";
import { openPeer } from "../../src/protocol/rpc/open_peer.ts";
import { viewCodec } from "../../src/protocol/rpc/view_codec.ts";
import { memoryPair } from "../../src/protocol/transport/memory.ts";
import { workerRing } from "../../src/protocol/transport/ring/worker_ring.ts";
import { tcp } from "../../src/protocol/transport/tcp.ts";
import type { Connection, Listener, Transport } from "../../src/protocol/transport/transport.ts";
import { unix } from "../../src/protocol/transport/unix.ts";
import type { Body, Caller, LocalProgram, Payload, Program, Server, Wire } from "./subject.ts";

const echo = contract({ echo: call<Body, Body>() });
const serves = implement(echo, { echo: (body) => body });

/** A handshake for each connection, as our own users would choose it. */
export function posternOverSockets(handshake: HandshakePolicy): Program {
  return {
    async serve(wire, address, payload): Promise<Server> {
      const listener = await transportOf(wire).listen(address);
      void answerAll(listener, payload, handshake);
      return { address: listener.address };
    },
    async connect(wire, address, payload): Promise<Caller> {
      return await callOver(await transportOf(wire).connect(address), payload, handshake);
    },
  };
}

/** Without a secret. */
export const postern: Program = posternOverSockets(noHandshake());
/** Gives the memory of outputs back, as the raw loop reads into the same memory again and again. */
export const posternGivingBack: Program = {
  ...postern,
  async connect(wire, address, payload): Promise<Caller> {
    const { echo } = await postern.connect(wire, address, payload);
    return {
      echo,
      giveBack: (body): void => {
        if (typeof body !== "string") giveBack(body);
      },
    };
  },
};
/** Authenticated, and on TCP encrypted. */
export const posternHmac: Program = posternOverSockets(hmac("a secret of the bench, known to both"));

/** Between threads over shared memory; in one thread over a pair of queues. */
export const posternLocal: LocalProgram = {
  async serve(scope, payload): Promise<void> {
    void answerAll(await workerRing(scope).listen(), payload, noHandshake());
  },
  async connect(worker, payload): Promise<Caller> {
    return await callOver(await workerRing(worker).connect(), payload, noHandshake());
  },
  async loop(payload): Promise<Caller> {
    const [here, there] = memoryPair();
    const [caller] = await Promise.all([
      callOver(here, payload, noHandshake()),
      answer(there, payload, noHandshake()),
    ]);
    return caller;
  },
};

function transportOf(wire: Wire): Transport {
  return wire === "tcp" ? tcp() : unix();
}

async function answerAll(listener: Listener, payload: Payload, handshake: HandshakePolicy): Promise<void> {
  for (let each = await listener.accept(); each !== null; each = await listener.accept()) {
    await answer(each, payload, handshake);
  }
}

async function answer(connection: Connection, payload: Payload, handshake: HandshakePolicy): Promise<void> {
  await openPeer({ connection, role: "listener", handshake, serves, codec: codecOf(payload) });
}

async function callOver(
  connection: Connection,
  payload: Payload,
  handshake: HandshakePolicy,
): Promise<Caller> {
  const { client } = await openPeer({
    connection,
    role: "dialler",
    handshake,
    calls: echo,
    codec: codecOf(payload),
  });
  return { echo: (body) => client.echo(body) };
}

function codecOf(payload: Payload): Codec {
  return payload === "text" ? jsonCodec() : viewCodec();
}
