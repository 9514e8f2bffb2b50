import assert from "node:assert/strict";
import type { RelayConnection } from "../../../src/server/relay/caller.ts";
import { parseListenAddress } from "../../../src/server/knock/listen_address.ts";
import { type ConnectionSource, hintFor, Listener } from "../../../src/server/relay/listener.ts";
import { settled } from "../../protocol/rpc/fake_timers.ts";
import { until } from "../../e2e/until.ts";
import { FakeConnection } from "./fake_connection.ts";

/** A listening socket whose clients are the test. */
class FakeSource implements ConnectionSource {
  isClosed = false;
  accepts = 0;
  #next = Promise.withResolvers<RelayConnection>();

  accept(): Promise<RelayConnection> {
    this.accepts++;
    return this.#next.promise;
  }

  close(): void {
    this.isClosed = true;
    this.#next.promise.catch(() => {});
    this.#next.reject(new Deno.errors.BadResource("closed"));
  }

  come(connection: RelayConnection): void {
    const { resolve } = this.#next;
    this.#next = Promise.withResolvers();
    resolve(connection);
  }

  fail(error: Error): void {
    const { reject } = this.#next;
    this.#next = Promise.withResolvers();
    reject(error);
  }
}

class Scene {
  readonly source = new FakeSource();
  readonly taken: RelayConnection[] = [];
  readonly failures: unknown[] = [];
  readonly listener = new Listener(this.source, {
    take: (connection) => this.taken.push(connection),
    failed: (error) => this.failures.push(error),
  });
  readonly running = this.listener.run();
}

Deno.test("Listener hands over one connection after the other, until it is closed", async () => {
  const { source, taken, failures, listener, running } = new Scene();
  const first = new FakeConnection(), second = new FakeConnection();
  source.come(first);
  await settled();
  source.come(second);
  await settled();
  listener.close();
  await running;
  assert.deepEqual([taken, failures, source.isClosed], [[first, second], [], true]);
});

Deno.test("Listener tells a failure and goes on", async () => {
  const { source, taken, failures, listener, running } = new Scene();
  const error = new Error("no more open files");
  source.fail(error);
  await until("it accepts again", () => source.accepts === 2);
  const connection = new FakeConnection();
  source.come(connection);
  await settled();
  assert.deepEqual([failures, taken], [[error], [connection]]);
  listener.close();
  await running;
});

Deno.test("Listener neither waits nor tells of strangers who were gone before they were accepted", async () => {
  const { source, taken, failures, listener, running } = new Scene();
  const startMs = performance.now();
  for (let n = 1; n <= 20; n++) {
    source.fail(
      n % 2 === 0 ? new Deno.errors.NotConnected("gone") : new Deno.errors.ConnectionAborted("gone"),
    );
    await until("it accepts again", () => source.accepts === n + 1, { pollMs: 1 });
  }
  const connection = new FakeConnection();
  source.come(connection);
  await settled();
  assert.deepEqual([failures, taken], [[], [connection]]);
  // With pauses it would have taken eight seconds.
  assert(performance.now() - startMs < 2000);
  listener.close();
  await running;
});

Deno.test("Listener waits between failures, longer each time", async () => {
  let accepts = 0;
  const listener = new Listener({
    accept: () => {
      accepts++;
      return Promise.reject(new Error("no more open files"));
    },
    close: () => {},
  }, { take: () => {}, failed: () => {} });
  const running = listener.run();
  await until("it has tried again", () => accepts > 3);
  // 10, 20 and 40 ms; without a pause there would have been thousands.
  assert(accepts < 8, `${accepts} tries`);
  listener.close();
  await running;
});

Deno.test("Listener closes at once in a pause after a failure", async () => {
  const { source, listener, running } = new Scene();
  for (let n = 1; n < 5; n++) {
    source.fail(new Error("no more open files"));
    await until("it accepts again", () => source.accepts === n + 1);
  }
  // The next pause would take a while.
  source.fail(new Error("no more open files"));
  await settled();
  const startMs = performance.now();
  listener.close();
  await running;
  assert(performance.now() - startMs < 100);
});

Deno.test("Listener hangs up on who is accepted in the moment of closing", async () => {
  const { source, taken, listener, running } = new Scene();
  const late = new FakeConnection();
  source.come(late);
  listener.close();
  await running;
  assert(late.isClosed);
  assert.deepEqual(taken, []);
});

Deno.test("hintFor() knows what to do without IPv6, and without the right to a port", () => {
  const hintOf = (error: Error, bind: string): string | undefined =>
    hintFor(error, parseListenAddress(bind) ?? assert.fail());
  const noFamily = new Error("Address family not supported by protocol (os error 97)");
  assert.equal(
    hintOf(noFamily, "[::]:8080"),
    "this machine has no IPv6: --bind 0.0.0.0:8080 takes IPv4 alone",
  );
  assert.equal(hintOf(noFamily, "0.0.0.0:8080"), undefined);
  assert.match(hintOf(new Deno.errors.PermissionDenied("no"), "[::]:80") ?? "", /CAP_NET_BIND_SERVICE/);
});
