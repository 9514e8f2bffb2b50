/** How long a knock takes to its command: from the client's start, and from a datagram of a running sender. */
import { Fwknop, type FwknopVariant } from "./fwknop.ts";
import type { GroupContext } from "./group.ts";
import { Postern } from "./postern.ts";
import type { KnockProgram } from "./program.ts";
import { quantile } from "./quantile.ts";
import { type Goal, makeRow, ratioAtMost, type Row } from "./row.ts";
import { knockOnce, Sender } from "./series.ts";

const GROUP = "latency";
const ROUNDS = 101, QUICK_ROUNDS = 8, WARM_UP_ROUNDS = 5;
/** The first one is what the goal is held against. */
const VARIANTS: readonly FwknopVariant[] = ["tuned", "installed"];

export async function measureLatency(context: GroupContext): Promise<Row[]> {
  await using running = new AsyncDisposableStack();
  const postern = running.use(await Postern.start(context.folder));
  const programs: KnockProgram[] = [postern];
  if (context.fwknopMissing === null) {
    for (const variant of VARIANTS) programs.push(running.use(await Fwknop.start(context.folder, variant)));
  }
  using sender = new Sender();
  const rounds = context.isQuick ? QUICK_ROUNDS : ROUNDS;
  const rows: Row[] = [];
  for (const how of ["client", "datagram"] as const) {
    context.progress(`latency: ${how} to stamp`);
    const latencies = new Map<KnockProgram, number[]>(programs.map((program) => [program, []]));
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      for (const [program, values] of latencies) {
        const ms = await knockOnce(program, how, sender);
        if (ms === null) throw new Error(`${program.name} did not run the command of a knock`);
        if (round >= 0) values.push(ms);
      }
    }
    const row = (label: string, q: number, goal?: Goal): Row =>
      makeRow({
        group: GROUP,
        figure: `${how === "client" ? "client start" : "datagram of a running sender"} to stamp, ${label}`,
        unit: "ms",
        ours: quantile(latencies.get(postern) ?? [], q),
        beside: VARIANTS.map((variant) => {
          const peer = programs.find(({ name }) => name === `fwknopd ${variant}`);
          return peer === undefined
            ? { name: `fwknopd ${variant}`, value: null, missing: context.fwknopMissing ?? "not started" }
            : { name: peer.name, value: quantile(latencies.get(peer) ?? [], q) };
        }),
        ...(goal === undefined ? {} : { goal }),
      });
    rows.push(row("p50", 0.5, how === "datagram" ? ratioAtMost(1.0) : undefined), row("p95", 0.95));
  }
  return rows;
}
