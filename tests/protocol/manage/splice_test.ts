import assert from "node:assert/strict";
import type { FlowConnection } from "../../../src/protocol/manage/flow_connection.ts";
import { splice, type Spliced } from "../../../src/protocol/manage/splice.ts";
import { FakeTimers, settled } from "../rpc/fake_timers.ts";
import { endPair, type LinkPair, linkPair, openFlow } from "./link_pair.ts";

interface Stage {
  readonly adminLink: LinkPair;
  readonly hostLink: LinkPair;
  /** The two ends of the session. */
  readonly admin: FlowConnection;
  readonly host: FlowConnection;
  /** The two in the middle. */
  readonly a: FlowConnection;
  readonly b: FlowConnection;
  readonly spliced: Promise<Spliced>;
}

async function withSession(
  act: (stage: Stage) => Promise<void>,
  windows: { readonly opener?: number; readonly taker?: number } = {},
): Promise<void> {
  const adminLink = linkPair(new FakeTimers()), hostLink = linkPair(new FakeTimers());
  const [admin, a] = await openFlow(adminLink, "dialler", windows);
  const [b, host] = await openFlow(hostLink, "server", windows);
  await act({ adminLink, hostLink, admin, host, a, b, spliced: splice(a, b) });
  await Promise.all([endPair(adminLink), endPair(hostLink)]);
}

async function readAll(connection: FlowConnection): Promise<Uint8Array> {
  const parts: number[] = [], buffer = new Uint8Array(50_000);
  for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
    for (const byte of buffer.subarray(0, count)) parts.push(byte);
  }
  return Uint8Array.from(parts);
}

Deno.test("splice() copies both ways, with half-closes, and counts", () =>
  withSession(async ({ admin, host, spliced }) => {
    const long = Uint8Array.from({ length: 700_000 }, (_, at) => at * 7 + (at >> 8));
    const atHost = readAll(host);
    await admin.write(long);
    await admin.closeWrite();
    assert.deepEqual(await atHost, long);
    // The other direction goes on.
    await host.write(Uint8Array.of(1, 2));
    assert.equal(await admin.read(new Uint8Array(9)), 2);
    await host.write(Uint8Array.of(3));
    await host.closeWrite();
    assert.deepEqual(await readAll(admin), Uint8Array.of(3));
    assert.deepEqual(await spliced, { aToB: 700_000, bToA: 3, failure: null });
  }));

Deno.test("splice() passes a reset of either end on, with its code and text", async () => {
  for (const from of ["admin", "host"] as const) {
    await withSession(async (stage) => {
      const other = stage[from === "admin" ? "host" : "admin"];
      stage[from].reset("replaced", "another viewer came");
      const failure = await other.closed;
      assert.deepEqual([failure?.code, failure?.by, failure?.message], [
        "replaced",
        "there",
        "another viewer came",
      ]);
      const first = (await stage.spliced).failure;
      assert.deepEqual([first?.code, first?.by], ["replaced", "there"]);
      await settled();
      assert.deepEqual([stage.hostLink.server.openFlows, stage.adminLink.server.openFlows], [0, 0]);
    });
  }
});

Deno.test("splice() ends both when one of the two in the middle is reset from outside", () =>
  withSession(async ({ admin, host, a, spliced }) => {
    a.reset("revoked", "the policy has changed");
    const ends = await Promise.all([admin.closed, host.closed]);
    assert.deepEqual(ends.map((end) => [end?.code, end?.message]), [
      ["revoked", "the policy has changed"],
      ["revoked", "the policy has changed"],
    ]);
    assert.equal((await spliced).failure?.by, "here");
  }));

Deno.test("splice() passes the end of a link on as lost", () =>
  withSession(async ({ adminLink, host, spliced }) => {
    adminLink.dialler.close("shutting_down", "");
    assert.equal((await host.closed)?.code, "lost");
    assert.equal((await spliced).failure?.code, "lost");
  }));

Deno.test("splice() passes a reset on though the other direction waits for a reader", () =>
  withSession(async ({ admin, host, spliced }) => {
    const writing = admin.write(new Uint8Array(10_000));
    writing.catch(() => {});
    await settled();
    host.reset("internal", "");
    assert.equal((await admin.closed)?.code, "internal");
    assert.equal((await spliced).failure?.code, "internal");
  }, { opener: 100, taker: 100 }));

Deno.test("splice() holds no more than the windows while nobody reads, and loses nothing", () =>
  withSession(async ({ admin, host, a, b }) => {
    let isWritten = false;
    const writing = admin.write(new Uint8Array(100_000).fill(9)).then(() => isWritten = true);
    await settled();
    assert.equal(isWritten, false);
    assert(a.bytes.received <= 3 * 1000, `${a.bytes.received} bytes were taken`);
    assert(b.bytes.sent <= a.bytes.received);
    const atHost = readAll(host);
    await writing;
    await admin.closeWrite();
    assert.equal((await atHost).length, 100_000);
    await host.closeWrite();
  }, { opener: 1000, taker: 1000 }));
