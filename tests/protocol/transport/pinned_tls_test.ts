import assert from "node:assert/strict";
import { transportConformance } from "../../../src/protocol/transport/conformance.ts";
import { dialPinned } from "../../../src/protocol/transport/pinned_tls.ts";
import { tcp } from "../../../src/protocol/transport/tcp.ts";
import { tls } from "../../../src/protocol/transport/tls.ts";
import { type Connection, type Listener, TransportError } from "../../../src/protocol/transport/transport.ts";
import { meddleWith } from "./meddler.ts";
import { pinnedCertificates, selfSigned } from "./pinned_certificates.ts";

const ours = await pinnedCertificates();

async function listenWith({ cert, key }: { cert: string; key: string }): Promise<Listener> {
  return await tls("127.0.0.1:0", { cert, key }).listen();
}

/** Both ends; the listener is closed as soon as they stand. */
async function pair(): Promise<readonly [Connection, Connection]> {
  const listener = await listenWith(ours);
  try {
    const [{ connection }, far] = await Promise.all([
      dialPinned({ address: listener.address, caCertificates: [ours.ca] }),
      listener.accept().then(async (far) => {
        // The handshake of the accepting end belongs to its first write.
        await far?.write(new Uint8Array(0));
        return far;
      }),
    ]);
    assert.ok(far !== null);
    return [connection, far];
  } finally {
    listener.close();
  }
}

/**
 * Deno's node:tls takes in whatever comes, also while nobody reads; what bounds it is the credit of the link's flows.
 * These cases want a writer at the other end to wait.
 */
const NEED_BACK_PRESSURE: readonly string[] = [
  "ends a write that waits when it is closed here",
  "ends a read and a write that wait at both ends when both are closed",
  "ends what the other end reads when it is closed while a write waits",
  "fails a write that waits when the other end vanishes",
  "makes a writer wait while the other end does not read, and then loses nothing",
];
const cases = transportConformance(pair);
for (const name of NEED_BACK_PRESSURE) assert.ok(cases.some((each) => each.name === name), name);
for (const { name, run } of cases) {
  if (!NEED_BACK_PRESSURE.includes(name)) Deno.test(`dialPinned() connection ${name}`, run);
}

/** What a dial of a server with that certificate is refused with; null if it is not. */
async function refusal(
  server: { cert: string; key: string },
  caCertificates: readonly string[],
): Promise<unknown> {
  const listener = await listenWith(server);
  const accepting = listener.accept();
  try {
    const { connection } = await dialPinned({ address: listener.address, caCertificates });
    connection.close();
    return null;
  } catch (error) {
    return error;
  } finally {
    listener.close();
    const far = await accepting;
    await far?.read(new Uint8Array(1)).catch(() => {});
    far?.close();
  }
}

Deno.test("dialPinned() gives the certificate of the other end as it is", async () => {
  const listener = await listenWith(ours);
  const [{ connection, certificate }, far] = await Promise.all([
    dialPinned({ address: listener.address, caCertificates: [ours.ca] }),
    listener.accept(),
  ]);
  assert.deepEqual(certificate, ours.der);
  assert.equal(connection.remoteAddress, listener.address);
  assert.equal(connection.confidential, true);
  connection.close();
  await far?.read(new Uint8Array(1)).catch(() => {});
  far?.close();
  listener.close();
});

const wrongName = await pinnedCertificates("other");
const alone = await selfSigned();
const strangers = await pinnedCertificates();
for (
  const [what, server, pins] of [
    ["of another CA of the same name", strangers, [ours.ca]],
    ["of a pinned CA but for another name", wrongName, [wrongName.ca]],
    ["for the right name but signed by itself", alone, [ours.ca]],
    ["good, but no CA is pinned", ours, []],
    ["good, but what is pinned is no certificate", ours, ["/etc/ssl/ca.pem"]],
  ] as const
) {
  Deno.test(`dialPinned() says untrusted when the certificate is ${what}`, async () => {
    const error = await refusal(server, pins);
    assert.ok(error instanceof Error);
    assert.equal((error as { code?: string }).code, "untrusted");
  });
}

Deno.test("dialPinned() dials nobody where no CA is pinned", async () => {
  // Without a list of its own node:tls would take every public root.
  for (const caCertificates of [[], [""], [ours.ca, "no certificate"]]) {
    await assert.rejects(dialPinned({ address: "127.0.0.1:1", caCertificates }), {
      code: "untrusted",
      message: "cannot connect to 127.0.0.1:1: no CA certificate is pinned, it wants at least one in PEM",
    });
  }
});

Deno.test("dialPinned() believes each of two pinned CAs", async () => {
  assert.equal(await refusal(strangers, [ours.ca, strangers.ca]), null);
  assert.equal(await refusal(ours, [ours.ca, strangers.ca]), null);
});

Deno.test("dialPinned() refuses a server that speaks TLS 1.2 only", async () => {
  const { createServer } = await import("node:tls");
  const server = createServer({ cert: ours.cert, key: ours.key, maxVersion: "TLSv1.2" });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const dialling = dialPinned({ address: `127.0.0.1:${port}`, caCertificates: [ours.ca] });
  await assert.rejects(dialling, {
    name: "TransportError",
    code: "refused",
    message: /does not speak TLSv1\.3/,
  });
  await new Promise((resolve) => server.close(resolve));
});

Deno.test("dialPinned() says refused when nobody listens, and when there is no TLS", async () => {
  const listener = await tcp("127.0.0.1:0").listen();
  const accepting = listener.accept();
  const dialling = dialPinned({ address: listener.address, caCertificates: [ours.ca] });
  dialling.catch(() => {});
  const far = await accepting;
  await far?.write(new TextEncoder().encode("220 this is mail\r\n"));
  await assert.rejects(dialling, { code: "refused" });
  far?.close();
  listener.close();
  await assert.rejects(dialPinned({ address: listener.address, caCertificates: [ours.ca] }), {
    code: "refused",
    message: /^cannot connect to 127\.0\.0\.1:\d+: /,
  });
});

Deno.test("dialPinned() refuses what is no address", async () => {
  await assert.rejects(dialPinned({ address: "manage", caCertificates: [ours.ca] }), { code: "address" });
});

Deno.test("dialPinned() gives up on a silent other end when the signal is aborted", async () => {
  const listener = await tcp("127.0.0.1:0").listen();
  const accepting = listener.accept();
  const controller = new AbortController();
  const dialling = dialPinned({
    address: listener.address,
    caCertificates: [ours.ca],
    signal: controller.signal,
  });
  dialling.catch(() => {});
  const far = await accepting;
  await far?.read(new Uint8Array(100));
  controller.abort(new Error("enough"));
  await assert.rejects(dialling, /enough/);
  far?.close();
  listener.close();
});

Deno.test("dialPinned() connects to a name", async () => {
  const listener = await listenWith(ours);
  const address = `localhost:${listener.address.split(":")[1]}`;
  const [{ connection }, far] = await Promise.all([
    dialPinned({ address, caCertificates: [ours.ca] }),
    listener.accept(),
  ]);
  connection.close();
  await far?.read(new Uint8Array(1)).catch(() => {});
  far?.close();
  listener.close();
});

/** A connection whose listening end is ours, by way of somebody in the middle. */
async function meddled(): Promise<
  { near: Connection; far: Connection; cut(): Promise<void>; flip(): void; end(): void }
> {
  const listener = await listenWith(ours);
  const meddler = await meddleWith(listener.address);
  const [{ connection: near }, far] = await Promise.all([
    dialPinned({ address: meddler.address, caCertificates: [ours.ca] }),
    listener.accept(),
  ]);
  assert.ok(far !== null);
  await Promise.all([far.write(Uint8Array.of(7)), near.read(new Uint8Array(1))]);
  const end = (): void => {
    near.close();
    far.close();
    meddler[Symbol.dispose]();
    listener.close();
  };
  return { near, far, cut: () => meddler.cut(), flip: () => meddler.flip(), end };
}

Deno.test("dialPinned() connection comes to its end when somebody cuts the stream in the middle", async () => {
  const { near, cut, end } = await meddled();
  await cut();
  assert.equal(await near.read(new Uint8Array(1)), null);
  end();
});

Deno.test("dialPinned() connection fails when somebody changes a bit in the middle", async () => {
  const { near, far, flip, end } = await meddled();
  flip();
  await far.write(Uint8Array.of(8));
  await assert.rejects(near.read(new Uint8Array(1)), { name: "TransportError" });
  end();
});

/** What somebody in between does as soon as the handshake is through, before anybody has written anything. */
const BEHIND_THE_HANDSHAKE: Readonly<Record<string, (victim: Deno.Conn) => Promise<unknown>>> = {
  "a record that nobody can have written": (victim) =>
    victim.write(Uint8Array.of(0x17, 3, 3, 0, 32, ...new Uint8Array(32))),
  "nothing more, and hangs up": () => Promise.resolve(),
};

for (const [what, act] of Object.entries(BEHIND_THE_HANDSHAKE)) {
  Deno.test(`dialPinned() connection fails or ends, and the program goes on, when right behind the handshake comes ${what}`, async () => {
    const listener = await listenWith(ours);
    const middle = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = middle.addr as Deno.NetAddr;
    const meddling = (async () => {
      using victim = await middle.accept();
      using server = await Deno.connect({
        hostname: "127.0.0.1",
        port: Number(listener.address.split(":")[1]),
      });
      const accepted = await listener.accept();
      const answering = accepted?.write(new Uint8Array(0)).catch(() => {});
      await passOn(victim, server);
      await passOn(server, victim);
      await passOn(victim, server);
      await act(victim);
      await answering;
      accepted?.close();
    })();
    try {
      const { connection } = await dialPinned({
        address: `127.0.0.1:${port}`,
        caCertificates: [ours.ca],
      });
      const read = await connection.read(new Uint8Array(1)).catch((error: unknown) => error);
      assert.ok(read === null || read instanceof TransportError, String(read));
      connection.close();
    } finally {
      await meddling;
      middle.close();
      listener.close();
    }
  });
}

/** One flight of the handshake. */
async function passOn(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const flight = new Uint8Array(64 * 1024);
  const count = await from.read(flight);
  assert.ok(count !== null);
  await to.write(flight.subarray(0, count));
}
