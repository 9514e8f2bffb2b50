import assert from "node:assert/strict";
import type { Row } from "../../bench/row.ts";
import { succeeds, unless } from "../e2e/machine.ts";

const MAIN = new URL("../../bench/main.ts", import.meta.url).pathname;
const TIMEOUT_MS = 120_000;

const obstacle = await succeeds("socat", ["-V"]) && await succeeds("python3", ["-V"])
  ? null
  : "needs socat and python3";

Deno.test({
  ...unless(
    obstacle,
    "bench relay measures one stream beside socat, and a crowd's memory, when it is run quickly",
  ),
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", MAIN, "relay", "--quick", "--json"],
      env: { NO_COLOR: "1" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const [stream, cpu, crowd, ...others]: readonly Row[] = JSON.parse(new TextDecoder().decode(stdout)).rows;
    assert(stream !== undefined && cpu !== undefined && crowd !== undefined);
    assert.deepEqual(others, []);
    assert.deepEqual([stream.group, stream.unit, stream.goal], ["relay-stream", "GB/s", "ratio >= 1.0"]);
    assert.deepEqual(stream.beside.map(({ name }) => name), ["socat -b 262144", "socat -b 8192"]);
    for (const { ours, ratio, beside } of [stream, cpu]) {
      for (const value of [ours, ratio, ...beside.map((each) => each.value)]) {
        assert(value !== null && value > 0);
      }
    }
    assert.deepEqual([crowd.group, crowd.unit, crowd.met], ["relay-crowd", "MB", true]);
  },
});
