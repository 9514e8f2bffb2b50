import assert from "node:assert/strict";
import {
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../src/protocol/transport/conformance.ts";
import { vsock, type VsockPlace, type VsockSystem } from "../../../src/protocol/transport/vsock.ts";

/** A machine with vsock, made of TCP ports on loopback. */
class FakeVsock implements VsockSystem {
  readonly #taken = new Map<number, number>();
  #nextPort = 1024;

  listen({ cid, port }: VsockPlace): ReturnType<VsockSystem["listen"]> {
    const place = { cid, port: port === 0xffff_ffff ? this.#nextPort++ : port };
    if (this.#taken.has(place.port)) throw new Deno.errors.AddrInUse("Address already in use (os error 98)");
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.#taken.set(place.port, listener.addr.port);
    const close = (): void => {
      this.#taken.delete(place.port);
      listener.close();
    };
    return {
      addr: place,
      accept: async () => placed(await listener.accept(), place, { cid: 1, port: 9 }),
      close,
    };
  }

  async connect({ cid, port }: VsockPlace): ReturnType<VsockSystem["connect"]> {
    const real = this.#taken.get(port);
    if (real === undefined) throw new Deno.errors.ConnectionReset("Connection reset by peer (os error 104)");
    return placed(await Deno.connect({ hostname: "127.0.0.1", port: real }), { cid: 1, port: 9 }, {
      cid,
      port,
    });
  }
}

function placed(socket: Deno.Conn, localAddr: VsockPlace, remoteAddr: VsockPlace): Awaited<
  ReturnType<VsockSystem["connect"]>
> {
  return {
    read: (buffer) => socket.read(buffer),
    write: (bytes) => socket.write(bytes),
    closeWrite: () => socket.closeWrite(),
    close: () => socket.close(),
    localAddr,
    remoteAddr,
  };
}

const fake = vsock("any:4294967295", new FakeVsock());
for (const { name, run } of transportConformance(pairsOf(fake), { connections: 50 })) {
  Deno.test(`vsock() connection on a stand-in ${name}`, run);
}
for (const { name, run } of listenerConformance(fake)) {
  Deno.test(`vsock() listener on a stand-in ${name}`, run);
}

Deno.test("vsock() reads and writes addresses of 32-bit numbers, and any", async () => {
  const asked: VsockPlace[] = [];
  const system: VsockSystem = {
    listen: ({ cid, port }) => {
      asked.push({ cid, port });
      return { addr: { cid, port }, accept: () => new Promise(() => {}), close: () => {} };
    },
    connect: () => Promise.reject(new Error("not asked")),
  };
  assert.equal((await vsock("any:1337", system).listen()).address, "any:1337");
  assert.equal((await vsock("3:4294967295", system).listen()).address, "3:4294967295");
  assert.deepEqual(asked, [{ cid: 0xffff_ffff, port: 1337 }, { cid: 3, port: 0xffff_ffff }]);
  for (
    const text of ["", "1337", "any", ":1", "1:", "-1:5", "4294967296:1", "1:4294967296", "host:5", "1:5 "]
  ) {
    await assert.rejects(vsock(text, system).listen(), { code: "address" }, text);
    await assert.rejects(vsock(text, system).connect(), { code: "address" }, text);
  }
  await assert.rejects(vsock(null, system).listen(), { code: "address", message: /no address was given/ });
});

for (const [number, what] of [[97, "EAFNOSUPPORT"], [19, "ENODEV"], [99, "EADDRNOTAVAIL"]] as const) {
  Deno.test(`vsock() says unsupported when the kernel says ${what}`, async () => {
    const fails = (): never => {
      throw new Error(`as the system says (os error ${number})`);
    };
    const transport = vsock("1:5", { listen: fails, connect: fails });
    const wanted = { code: "unsupported", message: /as the system says .* the kernel has no vsock/ };
    await assert.rejects(transport.listen(), wanted);
    await assert.rejects(transport.connect(), wanted);
  });
}

Deno.test("vsock() names the flag when the permission is missing", async () => {
  const fails = (): never => {
    throw new Deno.errors.NotCapable('Requires net access to "vsock:1:5"');
  };
  await assert.rejects(vsock("1:5", { listen: fails, connect: fails }).connect(), {
    code: "permission",
    message: /run it with --allow-net=vsock:1:5$/,
  });
});

const module = new URL("../../../src/protocol/transport/", import.meta.url).href;

async function evaluate(flags: readonly string[], code: string): Promise<Deno.CommandOutput> {
  const args = ["eval", "--no-check", ...flags, code];
  return await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
}

Deno.test("vsock() without --unstable-vsock ends the program with 70 and the name of the flag, as its text says", async () => {
  const { code, stderr } = await evaluate(
    [],
    `const { vsock } = await import("${module}vsock.ts"); await vsock("1:5").connect().catch(() => {});`,
  );
  assert.equal(code, 70);
  assert.match(new TextDecoder().decode(stderr), /--unstable-vsock/);
});

/** What the kernel says to a listener at the loopback context; empty if it takes it. */
async function loopbackRefusal(): Promise<string> {
  const { stdout } = await evaluate(
    ["--unstable-vsock"],
    `try { Deno.listen({ transport: "vsock", cid: 1, port: 45671 }).close(); } catch (error) { console.log(error.message) }`,
  );
  return new TextDecoder().decode(stdout).trim();
}

const refusal = await loopbackRefusal();

Deno.test({
  name: `vsock() passes the conformance suite on the loopback context${
    refusal === "" ? "" : ` (skipped: the kernel says "${refusal}")`
  }`,
  ignore: refusal !== "",
  async fn(): Promise<void> {
    const { success, stderr } = await evaluate(
      ["--unstable-vsock"],
      `const { vsock } = await import("${module}vsock.ts");
       const { pairsOf, transportConformance } = await import("${module}conformance.ts");
       for (const { run } of transportConformance(pairsOf(vsock("1:45672")), { connections: 50 })) await run();`,
    );
    assert.ok(success, new TextDecoder().decode(stderr));
  },
});
