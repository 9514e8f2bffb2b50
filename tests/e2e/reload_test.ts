/** SIGHUP at a real server: new keys, removed keys, broken files, and not one knock lost meanwhile. */
import assert from "node:assert/strict";
import { formatKey } from "../../src/protocol/knock/key.ts";
import {
  buildRurocoPacket,
  rurocoCommandHash,
  rurocoIp,
  rurocoKey,
  type RurocoKnock,
} from "../reference/ruroco.ts";
import { nextCounter } from "./counters.ts";
import { NO_RATES, ServerLab } from "./server_lab.ts";
import { readStatus, refusalsByReason, statusAfter } from "./status_file.ts";
import { UdpPeer } from "./udp_peer.ts";
import { until } from "./until.ts";

const PEER = "127.0.0.1";

function packet(key: string, fields: Partial<RurocoKnock> = {}): Uint8Array {
  return buildRurocoPacket({
    key,
    command: "default",
    counter: nextCounter(),
    destinationIp: PEER,
    ...fields,
  });
}

class ReloadTest implements AsyncDisposable {
  readonly lab: ServerLab;
  readonly peer: UdpPeer;
  readonly userKey: string;

  private constructor(lab: ServerLab) {
    this.lab = lab;
    this.peer = new UdpPeer(lab.port);
    this.userKey = formatKey(lab.files.key);
  }

  static async start(): Promise<ReloadTest> {
    return new ReloadTest(await ServerLab.start({ config: NO_RATES }));
  }

  /** A broken key file must not be read half-written, so it is made elsewhere and moved in. */
  async putFile(name: string, text: string): Promise<void> {
    const { folder } = this.lab.files;
    await Deno.writeTextFile(`${folder}/new`, text, { mode: 0o600 });
    await Deno.rename(`${folder}/new`, `${folder}/etc/${name}`);
  }

  async editConfig(edit: (text: string) => string): Promise<void> {
    await this.putFile("config.toml", edit(await Deno.readTextFile(this.lab.files.configPath)));
  }

  /** Sends SIGHUP and waits for the log line that tells how it ended; returns its message. */
  async reload(): Promise<string> {
    const from = this.lab.server.lines.length;
    this.lab.server.kill("SIGHUP");
    const line = await this.lab.server.line((each) => {
      return ["configuration reloaded", "reload failed"].includes(String(each.fields["message"]));
    }, { from });
    return String(line.fields["message"]);
  }

  /** Sends one packet; true if it was forwarded, else the reason it was refused for. */
  async verdict(datagram: Uint8Array): Promise<string> {
    const from = this.lab.server.lines.length;
    await this.peer.send(datagram);
    const line = await this.lab.server.line((each) => {
      return ["knock accepted", "packet refused"].includes(String(each.fields["message"]));
    }, { from });
    return String(line.fields["reason"] ?? "accepted");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.peer[Symbol.asyncDispose]();
    await this.lab[Symbol.asyncDispose]();
  }
}

Deno.test({
  name: "SIGHUP brings a new key and a new address in, and takes a removed key away",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using test = await ReloadTest.start();
    const bob = rurocoKey();
    assert.equal(await test.verdict(packet(bob)), "unknown_key");
    assert.equal(await test.verdict(packet(test.userKey)), "accepted");
    assert.equal(await test.verdict(packet(test.userKey, { destinationIp: "192.0.2.1" })), "destination");

    // Made before bob's key was known, so it lies below the floor that the key then gets: the time of the reload.
    const counter = nextCounter();
    const early = packet(bob, { counter });
    await until("the clock has passed the counter", () => BigInt(Date.now()) * 1_000_000n > counter);
    await test.putFile("bob.key", bob);
    await test.editConfig((text) => text.replace(/^ips = .*$/m, `ips = ["${PEER}", "192.0.2.1"]`));
    assert.equal(await test.reload(), "configuration reloaded");
    assert.equal(await test.verdict(early), "replayed");
    assert.equal(await test.verdict(packet(bob)), "accepted");
    assert.equal(await test.verdict(packet(test.userKey, { destinationIp: "192.0.2.1" })), "accepted");

    const withdrawn = packet(test.userKey);
    await Deno.remove(test.lab.files.keyPath);
    assert.equal(await test.reload(), "configuration reloaded");
    assert.equal(await test.verdict(withdrawn), "unknown_key");
    assert.equal(await test.verdict(packet(bob)), "accepted");

    // Back again: its floor was kept, so what it had used stays used.
    await test.putFile("user.key", test.userKey);
    assert.equal(await test.reload(), "configuration reloaded");
    assert.equal(await test.verdict(packet(test.userKey)), "accepted");
  },
});

Deno.test({
  name: "SIGHUP with a broken file keeps the old state and says so in the status file, without its content",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using test = await ReloadTest.start();
    const { statusPath, configPath } = test.lab.files;
    const good = await Deno.readTextFile(configPath);
    const secret = "c2VjcmV0IHRoYXQgbm9ib2R5IG1heSBzZWU=";
    const breakages: [string, () => Promise<void>, () => Promise<void>][] = [
      [
        "config.toml",
        () => test.editConfig((text) => text + "ips = oops\n"),
        () => test.putFile("config.toml", good),
      ],
      [
        "max_requests_per_second",
        () =>
          test.editConfig((text) =>
            text.replace(/max_requests_per_second = \d+/, "max_requests_per_second = -1")
          ),
        () => test.putFile("config.toml", good),
      ],
      [
        "broken.key",
        () => test.putFile("broken.key", secret),
        () => Deno.remove(`${test.lab.files.folder}/etc/broken.key`),
      ],
      [
        "typo.key",
        () => test.editConfig((text) => text + "[keys.typo]\ndisabled = false\n"),
        () => test.putFile("config.toml", good),
      ],
    ];
    for (const [named, breakIt, mendIt] of breakages) {
      await breakIt();
      assert.equal(await test.reload(), "reload failed");
      const status = await until("the status tells of the reload", async () => {
        const { last_reload } = await readStatus(statusPath);
        return last_reload?.ok === false && last_reload;
      });
      assert(status.error?.includes(named), status.error ?? "");
      assert(!(await Deno.readTextFile(statusPath)).includes(secret));
      assert.equal(await test.verdict(packet(test.userKey)), "accepted");

      await mendIt();
      assert.equal(await test.reload(), "configuration reloaded");
      await until(
        "the status tells of the good reload",
        async () => (await readStatus(statusPath)).last_reload?.ok,
      );
    }
    assert.equal(await test.verdict(packet(test.userKey)), "accepted");
    assert(!test.lab.server.lines.some((line) => line.text.includes(secret)));
  },
});

Deno.test({
  name: "a key that is disabled is dropped even if the rest of the reload fails",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using test = await ReloadTest.start();
    const bob = rurocoKey();
    await test.putFile("bob.key", bob);
    assert.equal(await test.reload(), "configuration reloaded");
    assert.equal(await test.verdict(packet(bob)), "accepted");

    await test.putFile("broken.key", "no key");
    await test.editConfig((text) => text + "[keys.bob]\ndisabled = true\n");
    assert.equal(await test.reload(), "reload failed");
    assert.equal(await test.verdict(packet(bob)), "unknown_key");
    assert.equal(await test.verdict(packet(test.userKey)), "accepted");
  },
});

Deno.test({
  name: "no knock is lost while the server reloads again and again",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using test = await ReloadTest.start();
    const knocks = 600;
    const atOnce = 4;
    const { messages } = test.lab.recorder;
    let reloads = 0;
    async function reloadUntilDone(): Promise<void> {
      for (; messages.length < knocks; reloads++) {
        // Keys come and go; user.key stays.
        if (reloads % 2 === 0) await test.putFile("guest.key", rurocoKey());
        else await Deno.remove(`${test.lab.files.folder}/etc/guest.key`);
        assert.equal(await test.reload(), "configuration reloaded");
      }
    }
    async function knockUntilDone(): Promise<void> {
      for (let sent = 0; sent < knocks; sent++) {
        // Never more under way than the decrypt budget lets pass; a lost knock would stop the test here.
        await until("the knocks before it arrived", () => sent - messages.length < atOnce, { pollMs: 2 });
        await test.peer.send(packet(test.userKey));
      }
      await until("the last knock arrived", () => messages.length === knocks);
    }
    await Promise.all([knockUntilDone(), reloadUntilDone()]);
    const status = await statusAfter(test.lab.files.statusPath, knocks);
    assert.deepEqual(refusalsByReason(status), {});
    assert.equal(status.forwarded, knocks);
    assert.deepEqual(new Set(messages), new Set([rurocoCommandHash("default") + rurocoIp(PEER)]));
    assert(reloads >= 10, `only ${reloads} reloads`);
  },
});
