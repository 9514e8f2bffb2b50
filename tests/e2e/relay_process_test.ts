/** `postern server relay` as a process of its own: its start, its end, its permissions, its files. */
import assert from "node:assert/strict";
import { eachFlagIsNeeded, runToEnd, type Startable } from "../permission_proof.ts";
import { parsePrometheus } from "../server/prometheus_text.ts";
import { Peer } from "../server/relay/peer.ts";
import { ipv6Obstacle, unless } from "./machine.ts";
import { relayFlags, RelayProcess } from "./relay_process.ts";
import { TempFolder } from "./temp_folder.ts";
import { textOf, until } from "./until.ts";

const TIMEOUT_MS = 60_000;
const mainPath = new URL("../../main.ts", import.meta.url).pathname;
const entryPath = new URL("./relay_inside_entry.ts", import.meta.url).pathname;

function started(words: readonly string[]): Startable {
  return {
    command: (flags) => ({
      program: Deno.execPath(),
      args: ["run", "--no-prompt", "--cached-only", ...flags, mainPath, "server", "relay", ...words],
    }),
  };
}

/** Two who are stapled: they have heard each other. */
async function pair(address: string, identifier: string): Promise<[Peer, Peer]> {
  const one = await Peer.come(address, identifier, "hello");
  const other = await Peer.come(address, identifier);
  await other.hears("hello");
  return [one, other];
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test({
    name: `a relay ends with 0 at ${signal}, at once, whoever is connected`,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      await using relay = await RelayProcess.start();
      const [one, other] = await pair(relay.address, "a");
      using _one = one, _other = other;
      using parked = await Peer.come(relay.address, "b");
      const startMs = performance.now();
      const { code } = await relay.process.stop(signal);
      assert.equal(code, 0);
      assert(performance.now() - startMs < 2000);
      for (const peer of [one, other, parked]) await peer.end();
      const [stopped] = relay.lines("relay stopped");
      assert.equal(stopped?.["staples_cut"], 1);
      assert.equal(stopped?.["bytes"], 5);
      // Its port can be taken again at once, though connections of it linger.
      await using next = await RelayProcess.start({ bind: relay.address });
      assert.equal(next.address, relay.address);
    },
  });
}

Deno.test({
  ...unless(ipv6Obstacle(), "a relay with permission for its address alone relays, over IPv4 and IPv6"),
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    assert.deepEqual(relayFlags("[::]:0"), ["--allow-net=[::]:0"]);
    await using relay = await RelayProcess.start({ bind: "[::]:0", words: ["--strict-permissions"] });
    const port = /:([0-9]+)$/.exec(relay.address)?.[1];
    using four = await Peer.come(`127.0.0.1:${port}`, "a", "from four");
    using six = await Peer.come(`[::1]:${port}`, "a", "from six");
    await six.hears("from four");
    await four.hears("from six");
  },
});

Deno.test({
  name: "a relay keeps a status file, as JSON or for Prometheus, and the last one is true",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("relay");
    for (const name of ["status.json", "relay.prom"]) {
      const statusPath = `${folder.path}/${name}`;
      await using relay = await RelayProcess.start({ statusPath, words: ["--max-parked", "1"] });
      assert.equal(((await Deno.stat(statusPath)).mode ?? 0) & 0o777, 0o644);
      const [one, other] = await pair(relay.address, "a");
      using _one = one, _other = other;
      using _parked = await Peer.come(relay.address, "b");
      await until("it is parked", async () => /parked"?:? 1\b/.test(await textOf(statusPath) ?? ""));
      using refused = await Peer.come(relay.address, "c");
      await refused.end();
      assert.equal((await relay.process.stop()).code, 0);
      const text = await Deno.readTextFile(statusPath);
      if (name === "status.json") {
        const status = JSON.parse(text);
        assert.deepEqual(Object.keys(status), [
          ...["time", "started_at", "address", "arriving", "parked", "staples", "admitted_total"],
          ...["parked_total", "stapled_total", "refused", "timed_out", "bytes", "accept_failures"],
        ]);
        assert.equal(status.address, relay.address);
        assert.deepEqual([status.bytes, status.stapled_total, status.refused.parked_full], [5, 1, 1]);
      } else {
        const families = parsePrometheus(text);
        assert.equal(families.get("postern_relay_bytes_total")?.samples[0]?.value, 5);
        assert.equal(families.get("postern_relay_stapled_total")?.samples[0]?.value, 1);
        const refusals = families.get("postern_relay_refused_total")?.samples ?? [];
        assert.deepEqual(
          refusals.filter(({ value }) => value > 0).map(({ labels, value }) => [labels.get("reason"), value]),
          [["parked_full", 1]],
        );
        for (const [family, { type }] of families) {
          assert.equal(family.endsWith("_total"), type === "counter");
        }
      }
      assert.deepEqual([...Deno.readDirSync(folder.path)].map((entry) => entry.name), [name]);
      await Deno.remove(statusPath);
    }
  },
});

Deno.test({
  name: "a relay without any one of its flags does not start and names it",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const bind = "127.0.0.1:0", statusPath = "/tmp/postern-relay-status.json";
    const flags = relayFlags(bind, statusPath);
    const tried = await eachFlagIsNeeded(started(["--bind", bind, "--status", statusPath]), flags);
    assert.equal(flags.length, 3);
    assert.equal(tried.length, 5);
    assert.equal(await textOf(statusPath), undefined);
  },
});

for (const flags of [undefined, ["-A"]]) {
  Deno.test({
    name: `a stranger inside of a relay that listens can do nothing, with ${flags ?? "its own flags"}`,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      using service = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const words = ["--max-parked", String(service.addr.port)];
      await using relay = await RelayProcess.start({
        entryPath,
        words,
        ...(flags === undefined ? {} : { flags }),
      });
      relay.process.kill("SIGUSR1");
      const { fields } = await relay.process.line(({ fields }) => "attempts" in fields);
      const attempts = fields["attempts"] as Record<string, string>;
      assert.equal(Object.keys(attempts).length, 12);
      for (const [what, outcome] of Object.entries(attempts)) assert.equal(outcome, "refused", what);
      // It relays as before.
      const [one, other] = await pair(relay.address, "a");
      one.close();
      other.close();
    },
  });
}

Deno.test({
  name: "a relay says what is wrong with its address, and ends with 1",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const bind = `127.0.0.1:${taken.addr.port}`;
    const { code, stdout, stderr } = await runToEnd(started(["--bind", bind]), relayFlags(bind));
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(
      stderr,
      new RegExp(
        `^error: cannot listen on TCP ${bind}: Address already in use .*\nhint: another program has the port; see`,
      ),
    );
  },
});
