/**
 * The real clients of ruck-relay 0.1.4 (crates.io) through our relay, in both orders: their identifier has 32 bytes, and
 * what they say to each other is nothing to it. `POSTERN_RUCK` is their executable.
 */
import assert from "node:assert/strict";
import { unless } from "./machine.ts";
import { RelayProcess } from "./relay_process.ts";
import { TempFolder } from "./temp_folder.ts";
import { until } from "./until.ts";

const TIMEOUT_MS = 60_000;
const RUCK = Deno.env.get("POSTERN_RUCK") ?? "";
const PASSWORD = "correct-horse-battery";
const FILE_BYTES = 5_000_001;

/** Why there is no ruck-relay 0.1.4 here, or null. */
function ruckObstacle(): string | null {
  if (RUCK === "") return "no ruck-relay: POSTERN_RUCK is not set";
  const { stdout } = new Deno.Command(RUCK, { args: ["--version"], stdin: "null" }).outputSync();
  const version = new TextDecoder().decode(stdout).trim();
  return version === "ruck 0.1.4" ? null : `POSTERN_RUCK is ${version}`;
}

/** Bytes that no compression makes less. */
function noise(bytes: number): Uint8Array {
  const all = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(all.subarray(at, at + 65_536));
  return all;
}

/** Starts a client; it ends by itself. */
function start(words: readonly string[], cwd: string, input: string): Promise<Deno.CommandOutput> {
  const child = new Deno.Command(RUCK, {
    args: [...words],
    cwd,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(TIMEOUT_MS / 2),
  }).spawn();
  const writer = child.stdin.getWriter();
  // The question may come, or not: the answer is there.
  void writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
  return child.output();
}

for (const first of ["send", "receive"] as const) {
  Deno.test({
    ...unless(ruckObstacle(), `ruck-relay 0.1.4 sends a file through our relay, ${first} being there first`),
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      await using folder = await TempFolder.make("ruck");
      const [from, to] = [`${folder.path}/from`, `${folder.path}/to`];
      for (const each of [from, to]) await Deno.mkdir(each);
      const content = noise(FILE_BYTES);
      await Deno.writeFile(`${from}/noise.bin`, content);
      const statusPath = `${folder.path}/status.json`;
      await using relay = await RelayProcess.start({ words: ["--id-bytes", "32"], statusPath });

      const send = (): Promise<Deno.CommandOutput> =>
        start(["send", "--password", PASSWORD, "--relay", relay.address, "noise.bin"], from, "");
      const receive = (): Promise<Deno.CommandOutput> =>
        start(["receive", PASSWORD, "--relay", relay.address], to, "y\n");
      const early = first === "send" ? send() : receive();
      await until(
        "the first is parked",
        async () => JSON.parse(await Deno.readTextFile(statusPath)).parked === 1,
      );
      const outcomes = await Promise.all([early, first === "send" ? receive() : send()]);

      for (const { code, stderr } of outcomes) assert.equal(code, 0, new TextDecoder().decode(stderr));
      assert.deepEqual(await Deno.readFile(`${to}/noise.bin`), content);
      assert.equal((await relay.process.stop()).code, 0);
      const status = JSON.parse(await Deno.readTextFile(statusPath));
      assert.equal(status.stapled_total, 1);
      assert(status.bytes > FILE_BYTES);
      assert(!relay.process.lines.some(({ text }) => text.includes(PASSWORD)));
    },
  });
}
