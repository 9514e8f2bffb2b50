/** That docs/wire-formats.md is enough: a service in Python, written from that page alone, is called by a peer of ours. */
import assert from "node:assert/strict";
import { call, contract, stream } from "../../src/protocol/rpc/contract.ts";
import { openPeer } from "../../src/protocol/rpc/open_peer.ts";
import { childStdio } from "../../src/protocol/transport/stdio.ts";
import { textByHand } from "./wire_formats_page.ts";

const TIMEOUT_MS = 30_000;
/** The one of the page. */
const math = contract({ add: call<[number, number], number>(), ticks: stream<number, number>() });

/** Pieces as the page reads and writes them, and on top the frames, the hello and the calls of its contract. */
const [pieces = ""] = textByHand("child").split("\nfor piece in pieces():");
const SERVICE = `${pieces}
import hashlib
import json
import os

incoming = pieces()
buffered = b""


def take(count):
    global buffered
    while len(buffered) < count:
        buffered += next(incoming, None) or sys.exit("there is no more")
    taken, buffered = buffered[:count], buffered[count:]
    return taken


def read_frame():
    length, kind, flags, method, id, value = struct.unpack(">IBBHII", take(16))
    body = take(length)
    assert flags == 0 and take(-length % 8) == bytes(-length % 8)
    return kind, method, id, value, body


def send(kind, id=0, value=0, body=b""):
    padding = bytes(-len(body) % 8)
    write(struct.pack(">IBBHII", len(body), kind, 0, 0, id, value) + body + padding)


contract = hashlib.sha256(b"postern rpc contract 1\\n\\nadd call\\nticks stream\\n").digest()
kind, _, _, _, hello = read_frame()
assert kind == 1 and hello[:8] == b"PSTRNRPC" and hello[8:11] == bytes([1, 0, 1])
assert hello[24:40].rstrip(b"\\0") == b"json" and hello[72:104] == contract
send(1, body=struct.pack(
    ">8s4B3I16s32s32s64s64s32s",
    b"PSTRNRPC", 1, 0, 2, 1, 4194304, 1024, 262144,
    b"json", contract, bytes(32), b"MATH", b"", os.urandom(32),
))
send(3)
while True:
    kind, method, id, value, body = read_frame()
    if kind == 16 and method == 0:
        a, b = json.loads(body)
        if a + b > 1000:
            send(18, id, value=1, body=b"too_much\\nonly up to 1000")
        else:
            send(17, id, body=json.dumps(a + b).encode())
    elif kind == 16 and method == 1:
        for number in range(json.loads(body)):
            send(19, id, body=json.dumps(number).encode())
        send(20, id)
    elif kind == 32:
        send(33, value=value)
    elif kind == 35:
        break
write(b"")
`;

Deno.test({
  name: "a peer calls a service in Python that speaks stdio, frames, hello and JSON by docs/wire-formats.md",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const exited = Promise.withResolvers<Deno.CommandStatus>();
    const connection = await childStdio({
      command: "python3",
      args: ["-c", SERVICE],
      onExit: exited.resolve,
    }).connect();
    const peer = await openPeer({ connection, role: "dialler", calls: math, service: "MATH" });
    assert.equal(await peer.client.add([1, 2]), 3);
    assert.deepEqual(await Array.fromAsync(peer.client.ticks(5)), [0, 1, 2, 3, 4]);
    await assert.rejects(peer.client.add([1000, 1]), { reason: "too_much", message: "only up to 1000" });
    await peer.ping();
    await peer.drain();
    assert.equal((await peer.closed).reason, "normal");
    assert.equal((await exited.promise).code, 0);
  },
});
