import assert from "node:assert/strict";
import { joinBytes, u8 } from "../../../src/protocol/manage/byte_fields.ts";
import {
  hostForServer,
  type Registered,
  serverForHost,
} from "../../../src/protocol/manage/control_contract.ts";
import {
  controlPeer,
  decodeControlOpened,
  encodeControlOpen,
  encodeControlOpened,
  requireSameControl,
} from "../../../src/protocol/manage/control_flow.ts";
import { ApplicationError, RpcError } from "../../../src/protocol/rpc/errors.ts";
import { systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { refusedAs } from "./link_sides.ts";

const timers = systemTimers;
const unused = (): never => {
  throw new Error("not in this test");
};

Deno.test("requireSameControl() takes its own open and refuses any changed byte, the other side's, and other lengths", () => {
  for (const side of ["host", "administrator"] as const) {
    const open = encodeControlOpen(side);
    requireSameControl(open, side);
    for (let at = 0; at < open.length; at++) {
      const changed = open.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      assert.throws(() => requireSameControl(changed, side), refusedAs("version", "here"));
    }
    assert.throws(
      () => requireSameControl(encodeControlOpen(side === "host" ? "administrator" : "host"), side),
      refusedAs("version"),
    );
    for (const each of [open.subarray(0, 0), open.subarray(0, 32), joinBytes(open, u8(0))]) {
      assert.throws(() => requireSameControl(each, side), refusedAs("malformed"));
    }
  }
});

Deno.test("decodeControlOpened() reads the name that encodeControlOpened() writes, and no other bytes", () => {
  for (const name of ["a", "web1", "db-2.example", "b".repeat(64)]) {
    assert.equal(decodeControlOpened(encodeControlOpened(name)), name);
  }
  for (const name of ["", "A", "a b", "b".repeat(65), "b".repeat(1000), "é"]) {
    assert.throws(() => encodeControlOpened(name), TypeError);
    assert.throws(() => decodeControlOpened(new TextEncoder().encode(name)), refusedAs("malformed"));
  }
  // The code unit of a byte, not of what it could mean in UTF-8.
  assert.throws(() => decodeControlOpened(Uint8Array.of(0x61, 0xc3)), refusedAs("malformed"));
});

Deno.test("controlPeer() wants exactly the handlers of its end", () => {
  const [here] = memoryPair();
  const handlers = { ping: unused, challenge: unused, end: unused, pin: unused };
  assert.throws(
    () =>
      controlPeer(here, {
        role: "dialler",
        side: "host",
        timers,
        handlers: { ...handlers, extra: unused } as typeof handlers,
      }),
    TypeError,
  );
  const { pin: _pin, ...fewer } = handlers;
  assert.throws(
    () => controlPeer(here, { role: "dialler", side: "host", timers, handlers: fewer as typeof handlers }),
    TypeError,
  );
});

Deno.test("controlPeer() refuses values that are not of the contract, whichever side sends them", async () => {
  const [here, there] = memoryPair();
  const registered: unknown[] = [];
  const host = controlPeer(here, {
    role: "dialler",
    side: "host",
    timers,
    handlers: {
      ping: () => "not null" as unknown as null,
      challenge: () => new Uint8Array(15),
      end: () => null,
      pin: () => {
        throw new ApplicationError("internal", "no room\non the disk");
      },
    },
  });
  const server = controlPeer(there, {
    role: "listener",
    side: "host",
    timers,
    handlers: {
      register(registration): Registered {
        registered.push(registration);
        return { end: [] };
      },
      ended: unused,
      pinned: () => null,
    },
  });
  const code = (expected: string) => (error: unknown): true => {
    assert(error instanceof RpcError, String(error));
    assert.equal(error.code, expected);
    return true;
  };
  const registration = { version: "1", system: "linux", sessions: [], pinsGeneration: 0 };
  const wrong = { ...registration, name: "somebody-else" };
  await assert.rejects(host.client.register(wrong), code("invalid_argument"));
  assert.deepEqual(registered, []);
  assert.deepEqual(await host.client.register(registration), { end: [] });
  assert.deepEqual(registered, [registration]);
  await assert.rejects(server.client.ping(null), code("invalid_argument"));
  await assert.rejects(server.client.challenge(null), code("invalid_argument"));
  const order = { sessions: ["x"], ending: "revoked" } as const;
  await assert.rejects(server.client.end(order), code("invalid_argument"));
  const pins = {
    caCertificates: ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    generation: 1,
  };
  await assert.rejects(server.client.pin(pins), (error: unknown) => {
    assert(error instanceof ApplicationError);
    assert.deepEqual([error.reason, error.message], ["internal", "no room?on the disk"]);
    return true;
  });
  await host.drain();
  await server.closed;
});

Deno.test("controlPeer() gives handlers a client of the other end", async () => {
  const [here, there] = memoryPair();
  const told: number[] = [];
  const host = controlPeer(here, {
    role: "dialler",
    side: "host",
    timers,
    handlers: {
      ping: unused,
      challenge: unused,
      end: unused,
      async pin({ generation }, { client }): Promise<null> {
        await client.pinned(generation);
        return null;
      },
    },
  });
  const server = controlPeer(there, {
    role: "listener",
    side: "host",
    timers,
    handlers: {
      register: unused,
      ended: unused,
      pinned(generation): null {
        told.push(generation);
        return null;
      },
    },
  });
  const pins = {
    caCertificates: ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    generation: 7,
  };
  assert.equal(await server.client.pin(pins), null);
  assert.deepEqual(told, [7]);
  await server.drain();
  await host.closed;
});

Deno.test("the contracts of a host's link have a schema for each value that comes from the other side", () => {
  for (const { methods } of [hostForServer, serverForHost]) {
    for (const [name, { schemas }] of Object.entries(methods)) assert(schemas.output !== undefined, name);
  }
});
