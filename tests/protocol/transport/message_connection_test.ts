import assert from "node:assert/strict";
import {
  MAX_MESSAGE_BYTES,
  MessageConnection,
  type MessageLink,
  WINDOW_BYTES,
} from "../../../src/protocol/transport/message_connection.ts";

/** A link that writes down what it is told. */
class Recorder implements MessageLink {
  readonly told: string[] = [];
  readonly connection = new MessageConnection(this, {
    transport: "test",
    remoteAddress: null,
    localAddress: null,
    confidential: true,
  });

  sendBytes(bytes: Uint8Array): void {
    this.told.push(`${bytes.length} bytes`);
  }

  sendControl(text: string): void {
    this.told.push(text);
  }

  close(isViolated: boolean): void {
    this.told.push(isViolated ? "cut" : "close");
  }
}

/** How a promise stands after everything that could go on has gone on. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  let state = "waits";
  promise.then(() => state = "settled", (error) => state = error.code);
  await new Promise((resolve) => setTimeout(resolve, 0));
  return state;
}

Deno.test("MessageConnection sends the window in messages, waits for credit and sends no more than that", async () => {
  const link = new Recorder();
  const { connection } = link;
  const writing = connection.write(new Uint8Array(WINDOW_BYTES + 100));
  assert.equal(await stateOf(writing), "waits");
  assert.deepEqual(link.told, new Array(4).fill(`${MAX_MESSAGE_BYTES} bytes`));
  connection.deliver("credit 60");
  assert.equal(await stateOf(writing), "waits");
  connection.deliver("credit 41");
  assert.equal(await stateOf(writing), "settled");
  assert.deepEqual(link.told.slice(4), ["60 bytes", "40 bytes"]);
});

Deno.test("MessageConnection gives credit back when half a window was read, and not before", async () => {
  const link = new Recorder();
  const { connection } = link;
  const half = WINDOW_BYTES / 2;
  connection.deliver(new ArrayBuffer(WINDOW_BYTES));
  await connection.read(new Uint8Array(half - 1));
  assert.deepEqual(link.told, []);
  await connection.read(new Uint8Array(1));
  assert.deepEqual(link.told, [`credit ${half}`]);
  connection.deliver(new ArrayBuffer(half));
  assert.deepEqual(link.told, [`credit ${half}`]);
  connection.deliver(new ArrayBuffer(1));
  assert.deepEqual(link.told, [`credit ${half}`, "cut"]);
});

Deno.test("MessageConnection delivers what came before it was lost, then the loss", async () => {
  const { connection } = new Recorder();
  connection.deliver(Uint8Array.of(1, 2, 3).buffer);
  connection.lost("a cable was pulled");
  connection.deliver(Uint8Array.of(4).buffer);
  const buffer = new Uint8Array(8);
  assert.equal(await connection.read(buffer), 3);
  await assert.rejects(connection.read(buffer), {
    code: "lost",
    message: "the connection was lost: a cable was pulled",
  });
});

Deno.test("MessageConnection gives the end to who reads after the other side has ended and gone", async () => {
  const link = new Recorder();
  const { connection } = link;
  connection.deliver(Uint8Array.of(1, 2, 3).buffer);
  connection.deliver("end");
  connection.lost("it was closed");
  const buffer = new Uint8Array(8);
  assert.equal(await connection.read(buffer), 3);
  for (let i = 0; i < 2; i++) assert.equal(await connection.read(buffer), null);
  await assert.rejects(connection.write(buffer), { code: "lost" });
  connection.close();
  await assert.rejects(connection.read(buffer), { code: "closed" });
});

Deno.test("MessageConnection gives no end where more came after it", async () => {
  const link = new Recorder();
  link.connection.deliver("end");
  link.connection.deliver(Uint8Array.of(1).buffer);
  await assert.rejects(link.connection.read(new Uint8Array(8)), {
    code: "lost",
    message: /bytes after its end$/,
  });
  assert.deepEqual(link.told, ["cut"]);
});

Deno.test("MessageConnection ends its reading at once when it is closed after it was lost", async () => {
  const { connection } = new Recorder();
  connection.deliver(Uint8Array.of(1, 2, 3).buffer);
  connection.lost("a cable was pulled");
  connection.close();
  await assert.rejects(connection.read(new Uint8Array(8)), { code: "closed" });
});

Deno.test("MessageConnection reports a link that cannot send as lost, once", async () => {
  class Broken extends Recorder {
    override sendBytes(): void {
      throw new Error("no");
    }
  }
  const link = new Broken();
  await assert.rejects(link.connection.write(Uint8Array.of(1)), { code: "lost" });
  assert.equal(await stateOf(link.connection.read(new Uint8Array(1))), "lost");
  assert.deepEqual(link.told, ["close"]);
});

const WRONG: readonly (readonly [name: string, message: unknown])[] = [
  ["an empty message", new ArrayBuffer(0)],
  ["more bytes than the window", new ArrayBuffer(WINDOW_BYTES + 1)],
  ["another word", "End"],
  ["credit of nothing", "credit 0"],
  ["credit with a sign", "credit -1"],
  ["credit with a point", "credit 1.5"],
  ["credit in letters", "credit 0x10"],
  ["credit beyond any window", "credit 9999999999"],
  ["credit for what was not sent", "credit 1"],
  [
    "a view of bytes, behind which there may be any number more",
    new Uint8Array(new ArrayBuffer(WINDOW_BYTES * 2), 0, 1),
  ],
  ["a number", 7],
  ["an object", { credit: 1 }],
  ["a blob", new Blob([])],
  ["nothing", null],
];

for (const [name, message] of WRONG) {
  Deno.test(`MessageConnection cuts the other end off when it sends ${name}`, async () => {
    const link = new Recorder();
    const reading = link.connection.read(new Uint8Array(1));
    link.connection.deliver(message);
    assert.equal(await stateOf(reading), "lost");
    assert.deepEqual(link.told, ["cut"]);
  });
}
