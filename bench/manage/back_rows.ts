/** How long a host stays away after the network has swallowed everything for a while without a word. */
import type { GroupContext } from "../group.ts";
import { atMost, makeRow, type Row, skippedRow } from "../row.ts";
import { sleep } from "../sleep.ts";
import { freeTcpPort } from "../tcp_port.ts";
import { BlackHole, missingBlackHole } from "./black_hole.ts";
import { PosternManage } from "./postern.ts";

const GROUP = "manage-back";
const HOLES = 5, QUICK_HOLES = 1;
/** Longer than the two heartbeats that a host waits before it dials again: the shorter one too. */
const HOLE_MS = 60_000, QUICK_HOLE_MS = 25_000;
/** Before the next hole, so that it falls at another moment between two heartbeats. */
const MAX_REST_MS = 5_000;
const PATIENCE_MS = 120_000;
const LIMIT_S = 15;
const MS_PER_S = 1000;

/** From the moment that the hole is filled until the host is linked again; the worst of several. */
export async function measureBack(context: GroupContext): Promise<Row[]> {
  const [holes, holeMs] = context.isQuick ? [QUICK_HOLES, QUICK_HOLE_MS] : [HOLES, HOLE_MS];
  const figure = `a host is back after a black hole of ${holeMs / MS_PER_S} s, the longest of ${holes}`;
  const missing = await missingBlackHole(freeTcpPort());
  if (missing !== null) return [skippedRow(GROUP, figure, missing)];
  await using postern = await PosternManage.start();
  const tookS: number[] = [];
  for (let hole = 1; hole <= holes; hole++) {
    context.progress(`${GROUP}: hole ${hole} of ${holes}`);
    await sleep(Math.random() * MAX_REST_MS);
    tookS.push(await comeBack(postern, holeMs) / MS_PER_S);
  }
  return [makeRow({
    group: GROUP,
    figure,
    unit: "s",
    ours: Math.max(...tookS),
    goal: atMost(LIMIT_S),
    note: `one after the other: ${tookS.map((each) => each.toFixed(1)).join(", ")} s`,
  })];
}

/** Milliseconds. */
async function comeBack({ agent, port }: PosternManage, holeMs: number): Promise<number> {
  const from = agent.lines.length;
  {
    await using _hole = await BlackHole.dig(port);
    await sleep(holeMs);
  }
  const filledMs = performance.now();
  await agent.line(({ fields }) => fields["message"] === "linked to the server", {
    from,
    timeoutMs: PATIENCE_MS,
  });
  return performance.now() - filledMs;
}
