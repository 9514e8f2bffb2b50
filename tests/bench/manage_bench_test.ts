import assert from "node:assert/strict";
import { addedMs } from "../../bench/manage/echo_rows.ts";
import { totalCpu } from "../../bench/manage/forward_rows.ts";
import { missingOpenSsh } from "../../bench/manage/open_ssh.ts";
import type { Row } from "../../bench/row.ts";
import { programObstacle, unless } from "../e2e/machine.ts";

const MAIN = new URL("../../bench/main.ts", import.meta.url).pathname;
const TIMEOUT_MS = 180_000;

const obstacle = await missingOpenSsh() ?? await programObstacle("python3", "script");

Deno.test("addedMs() is what a terminal's quantile is longer than the local one's, in milliseconds", () => {
  const echoes = { local: [0.25, 0.5, 0.75], postern: [1.5, 1.25, 4.75] };
  assert.equal(addedMs(echoes, "postern", 0.5), 1000);
  assert.equal(addedMs(echoes, "postern", 1), 4000);
  assert.equal(addedMs(echoes, "ssh", 0.5), null);
  assert.equal(addedMs({ postern: [1] }, "postern", 0.5), null);
});

Deno.test("totalCpu() adds up the processes of a run", () => {
  assert.equal(totalCpu({ cpu: { client: 1, server: 0.5, agent: 2 } }), 3.5);
});

Deno.test({
  ...unless(obstacle, "bench manage measures echo, exec and a forward beside ssh when it is run quickly"),
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const groups = ["manage-echo", "manage-exec", "manage-forward"];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--quiet",
        MAIN,
        "manage",
        "--quick",
        "--json",
        ...groups.flatMap((g) => ["--only", g]),
      ],
      env: { NO_COLOR: "1" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const rows: readonly Row[] = JSON.parse(new TextDecoder().decode(stdout)).rows;
    // What is built may not be there, or be an older one.
    const isBuilt = ({ figure }: Row): boolean => /dist|self-extracting/.test(figure);
    assert.equal(rows.filter(isBuilt).length, 2);
    const measured = rows.filter((row) => !isBuilt(row));
    assert.deepEqual(measured.map(({ group, goal }) => [group, goal]), [
      ["manage-echo", "ratio <= 1.5"],
      ["manage-echo", null],
      ["manage-exec", "ratio <= 1.0"],
      ["manage-forward", "ratio >= 1.0"],
      ["manage-forward", null],
      ["manage-forward", "ratio >= 1.0"],
      ["manage-forward", null],
    ]);
    for (const { figure, ours, beside } of measured) {
      assert.deepEqual([typeof ours, typeof beside[0]?.value], ["number", "number"], figure);
    }
  },
});
