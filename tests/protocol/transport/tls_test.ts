import assert from "node:assert/strict";
import {
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../src/protocol/transport/conformance.ts";
import { tcp } from "../../../src/protocol/transport/tcp.ts";
import { tls, type TlsOptions } from "../../../src/protocol/transport/tls.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";
import { type Meddler, meddleWith } from "./meddler.ts";
import { makeCertificates } from "./certificates.ts";

const { root, cert, key } = await makeCertificates();
const transport = tls("127.0.0.1:0", { cert, key, caCerts: [root] });
for (const { name, run } of transportConformance(pairsOf(transport))) {
  Deno.test(`tls() connection ${name}`, run);
}
for (const { name, run } of listenerConformance(transport)) Deno.test(`tls() listener ${name}`, run);

const strangers = await makeCertificates();

/** A connection whose listening end is ours, by way of somebody in the middle. */
async function meddled(): Promise<{ near: Connection; far: Connection; meddler: Meddler; end(): void }> {
  const listener = await transport.listen();
  const meddler = await meddleWith(listener.address);
  const [near, far] = await Promise.all([
    tls(null, { caCerts: [root] }).connect(meddler.address),
    listener.accept(),
  ]);
  assert.ok(far !== null);
  const end = (): void => {
    near.close();
    far.close();
    meddler[Symbol.dispose]();
    listener.close();
  };
  return { near, far, meddler, end };
}

Deno.test("tls() says lost, and not the end, when somebody cuts the stream in the middle", async () => {
  const { near, far, meddler, end } = await meddled();
  await Promise.all([far.write(Uint8Array.of(7)), near.read(new Uint8Array(1))]);
  await meddler.cut();
  await assert.rejects(near.read(new Uint8Array(1)), { name: "TransportError", code: "lost" });
  end();
});

Deno.test("tls() says tampered when somebody changes a bit in the middle", async () => {
  const { near, far, meddler, end } = await meddled();
  await Promise.all([far.write(Uint8Array.of(7)), near.read(new Uint8Array(1))]);
  meddler.flip();
  await far.write(Uint8Array.of(8));
  await assert.rejects(near.read(new Uint8Array(1)), { name: "TransportError", code: "tampered" });
  end();
});

async function refusedBy(options: TlsOptions): Promise<unknown> {
  const listener = await transport.listen();
  const accepting = listener.accept();
  try {
    (await tls(null, options).connect(listener.address)).close();
    return null;
  } catch (error) {
    return error;
  } finally {
    const far = await accepting;
    // The handshake of the listening end belongs to its first read.
    await far?.read(new Uint8Array(1)).catch(() => {});
    far?.close();
    listener.close();
  }
}

for (
  const [what, options] of [
    ["of nobody it knows", {}],
    ["of another root", { caCerts: [strangers.root] }],
    ["for another name", { caCerts: [root], serverName: "other.test" }],
  ] as const
) {
  Deno.test(`tls() says untrusted when the certificate is ${what}`, async () => {
    const error = await refusedBy(options);
    assert.ok(error instanceof TransportError);
    assert.equal(error.code, "untrusted");
  });
}

Deno.test("tls() connects by address and checks the name it is told", async () => {
  assert.equal(await refusedBy({ caCerts: [root], serverName: "postern.test" }), null);
});

Deno.test("tls() says refused when there is no TLS at the other end", async () => {
  const listener = await tcp("127.0.0.1:0").listen();
  const accepting = listener.accept();
  const connecting = tls().connect(listener.address);
  const far = await accepting;
  await far?.write(new TextEncoder().encode("220 this is mail\r\n"));
  await assert.rejects(connecting, { code: "refused" });
  far?.close();
  listener.close();
});

Deno.test("tls() gives up on a silent other end when the signal is aborted in the handshake", async () => {
  const listener = await tcp("127.0.0.1:0").listen();
  const accepting = listener.accept();
  const controller = new AbortController();
  const connecting = tls().connect(listener.address, { signal: controller.signal });
  connecting.catch(() => {});
  const far = await accepting;
  // Its hello has come: it waits for ours.
  await far?.read(new Uint8Array(100));
  controller.abort(new Error("enough"));
  await assert.rejects(connecting, /enough/);
  far?.close();
  listener.close();
});

Deno.test("tls() accepts others while somebody connects and says nothing", async () => {
  const listener = await transport.listen();
  const silent = await tcp().connect(listener.address);
  const stuck = await listener.accept();
  const [near, far] = await Promise.all([
    tls(null, { caCerts: [root] }).connect(listener.address),
    listener.accept(),
  ]);
  await Promise.all([near.write(Uint8Array.of(1)), far?.read(new Uint8Array(1))]);
  for (const each of [silent, stuck, near, far]) each?.close();
  listener.close();
});

Deno.test("tls() refuses roots that hold no certificate, and to listen without a key", async () => {
  assert.throws(() => tls(null, { caCerts: ["/etc/ssl/root.pem"] }), TypeError);
  await assert.rejects(tls("127.0.0.1:0", { cert }).listen(), { code: "address", message: /key is missing/ });
  await assert.rejects(tls("127.0.0.1:0", { cert: "x", key: "y" }).listen(), { code: "address" });
});
