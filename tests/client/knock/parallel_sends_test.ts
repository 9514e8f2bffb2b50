/** Many processes, one counter file: the lock and the durable write under real contention. */
import assert from "node:assert/strict";
import { formatKey, generateKey } from "../../../src/protocol/knock/key.ts";
import { DatagramCatcher } from "../../e2e/datagram_catcher.ts";
import { openRurocoPacket } from "../../reference/ruroco.ts";
import { TempFolder } from "./temp_folder.ts";

const SENDS = 100;
const mainPath = new URL("../../../main.ts", import.meta.url).pathname;

Deno.test({
  name: `${SENDS} parallel sends carry ${SENDS} different counters, and none is lost`,
  timeout: 120_000,
  async fn(): Promise<void> {
    using folder = new TempFolder();
    // The socket's queue holds all of them, so they can be taken when the last process has ended.
    using catcher = new DatagramCatcher("127.0.0.1");
    const key = formatKey(generateKey());
    const target = `127.0.0.1:${catcher.port}`;
    const command = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        `--allow-net=0.0.0.0:0,${target}`,
        "--allow-env=POSTERN_CONF_DIR",
        `--allow-read=${folder.path}`,
        `--allow-write=${folder.path}`,
        ...[mainPath, "client", "send", "-a", target, "-k", key],
      ],
      env: { POSTERN_CONF_DIR: folder.path },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    });
    const results = await Promise.all(Array.from({ length: SENDS }, () => command.output()));
    const decoder = new TextDecoder();
    for (const { code, stderr } of results) assert.equal(code, 0, decoder.decode(stderr));

    const counters = (await catcher.takeAll()).map((datagram) => openRurocoPacket(key, datagram)?.counter);
    assert.equal(counters.length, SENDS);
    assert.equal(new Set(counters).size, SENDS);
    assert(!counters.includes(undefined), "a datagram could not be opened");
    const stored = await Deno.readFile(`${folder.path}/counter`);
    const largest = counters.reduce((a, b) => (a ?? 0n) > (b ?? 0n) ? a : b);
    assert.equal(BigInt(`0x${stored.toHex()}`), largest);
    const names = [...Deno.readDirSync(folder.path)].map((entry) => entry.name).sort();
    assert.deepEqual(names, ["client.lock", "counter"], "temporary files were left behind");
  },
});
