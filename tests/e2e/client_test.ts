/** `client send` as a process, seen from the wire and opened by the independent implementation. */
import assert from "node:assert/strict";
import { type ClientResult, runClient } from "../../scripts/lab.ts";
import {
  openRurocoPacket,
  rurocoCommandHash,
  rurocoIp,
  rurocoKey,
  type RurocoPacket,
} from "../reference/ruroco.ts";
import { catchBothFamilies, DatagramCatcher } from "./datagram_catcher.ts";
import { fromHex, toHex } from "./hex.ts";
import { ipv6Obstacle, mountObstacle, unless } from "./machine.ts";
import { TempFolder } from "./temp_folder.ts";

const HOST = "127.0.0.1";
const PACKET_BYTES = 94;
const NS_PER_MS = 1_000_000n;

function open(key: string, datagrams: readonly Uint8Array[]): RurocoPacket[] {
  return datagrams.map((datagram) => {
    assert.equal(datagram.length, PACKET_BYTES);
    const packet = openRurocoPacket(key, datagram);
    assert(packet !== null, "the independent implementation cannot open it");
    return packet;
  });
}

function assertSent(result: ClientResult): void {
  assert.equal(result.code, 0, result.stderr);
}

/** The time span in which a counter must lie that was taken from the clock while `action` ran. */
async function clockDuring<T>(action: () => Promise<T>): Promise<{ result: T; from: bigint; to: bigint }> {
  const from = BigInt(Date.now()) * NS_PER_MS;
  const result = await action();
  return { result, from, to: BigInt(Date.now() + 1) * NS_PER_MS };
}

Deno.test({
  name: "client send with --allow-net alone sends exactly one datagram with the right fields",
  timeout: 30_000,
  async fn(): Promise<void> {
    using catcher = new DatagramCatcher(HOST);
    const key = rurocoKey();
    const { result, from, to } = await clockDuring(() =>
      runClient(["send", "-a", `${HOST}:${catcher.port}`, "-k", key, "-c", "default"])
    );
    assertSent(result);
    assert(!result.stdout.includes(key) && !result.stderr.includes(key));
    const [packet, ...more] = open(key, await catcher.takeAll());
    assert(packet !== undefined);
    assert.deepEqual(more, []);
    const { counter, ...fields } = packet;
    assert.deepEqual(fields, {
      keyId: toHex(Uint8Array.from(atob(key), (char) => char.charCodeAt(0)).subarray(0, 8)),
      version: 1,
      commandHash: rurocoCommandHash("default"),
      strict: true,
      sourceIp: null,
      destinationIp: rurocoIp(HOST),
    });
    assert(counter >= from && counter <= to, `${from} <= ${counter} <= ${to}`);
  },
});

Deno.test({
  name: "client send puts command, --ip and --permissive into the packet",
  timeout: 30_000,
  async fn(): Promise<void> {
    using catcher = new DatagramCatcher(HOST);
    const key = rurocoKey();
    const target = ["send", "-a", `${HOST}:${catcher.port}`, "-k", key];
    assertSent(await runClient([...target]));
    assertSent(await runClient([...target, "-c", " öffne tür ", "--ip", "2001:db8::7"]));
    assertSent(await runClient([...target, "-c", "open_port", "-i", "192.0.2.7", "--permissive"]));
    const packets = open(key, await catcher.takeAll());
    assert.deepEqual(
      packets.map(({ commandHash, sourceIp, strict }) => ({ commandHash, sourceIp, strict })),
      [
        { commandHash: rurocoCommandHash("default"), sourceIp: null, strict: true },
        { commandHash: rurocoCommandHash(" öffne tür "), sourceIp: rurocoIp("2001:db8::7"), strict: true },
        { commandHash: rurocoCommandHash("open_port"), sourceIp: rurocoIp("192.0.2.7"), strict: false },
      ],
    );
    const [a, b, c] = packets.map(({ counter }) => counter);
    assert(a !== undefined && b !== undefined && c !== undefined && a < b && b < c);
  },
});

Deno.test({
  name: "client send --dry-run sends nothing",
  timeout: 30_000,
  async fn(): Promise<void> {
    using catcher = new DatagramCatcher(HOST);
    assertSent(
      await runClient(["send", "-a", `${HOST}:${catcher.port}`, "-k", rurocoKey(), "--dry-run"]),
    );
    assert.deepEqual(await catcher.takeAll(), []);
  },
});

Deno.test({
  ...unless(ipv6Obstacle(), "client send to an IPv6 address sends one datagram there"),
  timeout: 30_000,
  async fn(): Promise<void> {
    using catcher = new DatagramCatcher("::1");
    const key = rurocoKey();
    assertSent(await runClient(["send", "-a", `[::1]:${catcher.port}`, "-k", key, "-6"]));
    const packets = open(key, await catcher.takeAll());
    assert.deepEqual(packets.map(({ destinationIp }) => destinationIp), [rurocoIp("::1")]);
  },
});

Deno.test({
  ...unless(
    ipv6Obstacle() ?? await mountObstacle(),
    "client send to a name with both families knocks on both, or on the one that -4 or -6 asks for",
  ),
  timeout: 60_000,
  async fn(): Promise<void> {
    using catchers = catchBothFamilies();
    // A name of our own in a hosts file of our own, since not every machine's "localhost" has both.
    await using folder = await TempFolder.make("hosts");
    await Deno.writeTextFile(`${folder.path}/hosts`, "127.0.0.1 twin.example\n::1 twin.example\n");
    const launcher = [
      ...["unshare", "--mount", "sh", "-c"],
      `mount --bind ${folder.path}/hosts /etc/hosts && exec "$@"`,
      "sh",
    ];
    const key = rurocoKey();
    async function knock(...words: string[]): Promise<{ ipv4: RurocoPacket[]; ipv6: RurocoPacket[] }> {
      const target = `twin.example:${catchers.ipv4.port}`;
      assertSent(await runClient(["send", "-a", target, "-k", key, "-d", "1", ...words], { launcher }));
      return {
        ipv4: open(key, await catchers.ipv4.takeAll()),
        ipv6: open(key, await catchers.ipv6.takeAll()),
      };
    }
    for (const words of [[], ["-4", "-6"]]) {
      const { ipv4: [first, ...more4], ipv6: [second, ...more6] } = await knock(...words);
      assert(first !== undefined && second !== undefined);
      assert.deepEqual([...more4, ...more6], []);
      assert.equal(first.destinationIp, rurocoIp("127.0.0.1"));
      assert.equal(second.destinationIp, rurocoIp("::1"));
      assert(first.counter < second.counter);
    }
    const only4 = await knock("-4");
    assert.deepEqual([only4.ipv4.length, only4.ipv6.length], [1, 0]);
    const only6 = await knock("-6");
    assert.deepEqual([only6.ipv4.length, only6.ipv6.length], [0, 1]);
  },
});

Deno.test({
  name: "client send with permission on its config folder raises the stored counter with each knock",
  timeout: 30_000,
  async fn(): Promise<void> {
    using catcher = new DatagramCatcher(HOST);
    await using folder = await TempFolder.make("client");
    const counterPath = `${folder.path}/counter`;
    const key = rurocoKey();
    async function knock(): Promise<void> {
      assertSent(
        await runClient(["send", "-a", `${HOST}:${catcher.port}`, "-k", key], {
          flags: [
            `--allow-net=${HOST}:${catcher.port},0.0.0.0:0`,
            "--allow-env=POSTERN_CONF_DIR",
            `--allow-read=${folder.path}`,
            `--allow-write=${folder.path}`,
          ],
          env: { POSTERN_CONF_DIR: folder.path },
        }),
      );
    }
    async function stored(): Promise<bigint> {
      return BigInt(`0x${toHex(await Deno.readFile(counterPath))}`);
    }
    await knock();
    const first = await stored();
    // A clock that was once ahead by a minute: the next knock must go on from there, not from the clock.
    const ahead = first + 60_000_000_000n;
    await Deno.writeFile(counterPath, fromHex(ahead.toString(16).padStart(32, "0")));
    await knock();
    await knock();
    const counters = open(key, await catcher.takeAll()).map(({ counter }) => counter);
    assert.deepEqual(counters, [first, ahead + 1n, ahead + 2n]);
    assert.equal(await stored(), ahead + 2n);
    assert.equal(((await Deno.stat(counterPath)).mode ?? 0) & 0o777, 0o600);
  },
});
