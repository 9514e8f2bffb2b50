/** Valid knocks in the midst of a flood of garbage, paced and unthrottled, against us and against the peer. */
import { type Flood, FloodProgram, type FloodReport } from "./flood_program.ts";
import { Fwknop, type FwknopVariant } from "./fwknop.ts";
import { bufferLabel, type GroupContext } from "./group.ts";
import { Postern } from "./postern.ts";
import type { KnockProgram } from "./program.ts";
import { quantile } from "./quantile.ts";
import { atLeast, atMost, type Beside, type Goal, makeRow, type Row } from "./row.ts";
import { judgeSeries, knockOnce, knockPaced, Sender, type SeriesResult } from "./series.ts";
import { sleep } from "./sleep.ts";
import { cpuSeconds, residentMb } from "./usage.ts";

const KNOCKS = 20;
const PACED_PER_SECOND = 80_000, PACED_SECONDS = 5, QUICK_SECONDS = 1;
const UNTHROTTLED_COUNT = 4_400_000, QUICK_UNTHROTTLED_COUNT = 400_000;
/** What one sender manages here, roughly: spreads the knocks over the flood. */
const UNTHROTTLED_PER_SECOND = 1_200_000;
const VARIANTS: readonly FwknopVariant[] = ["tuned", "installed"];
/** So much may the memory of the second half exceed that of the first: V8's heap moves without meaning anything. */
const FLAT_MEMORY_MB = 8;
const SAMPLE_MS = 50;
const SETTLE_MS = 500;
const WARM_UP_KNOCKS = 3;
const MS_PER_SECOND = 1000;

interface FloodResult extends SeriesResult {
  readonly flood: FloodReport;
  readonly cpuSeconds: number;
  readonly residentBeforeMb: number;
  /** Peaks of the two halves of the flood. */
  readonly residentFirstMb: number;
  readonly residentSecondMb: number;
}

/** 80,000 garbage datagrams a second. */
export async function measureFlood(context: GroupContext): Promise<Row[]> {
  const seconds = context.isQuick ? QUICK_SECONDS : PACED_SECONDS;
  const flood: Flood = { kind: "garbage", perSecond: PACED_PER_SECOND, count: PACED_PER_SECOND * seconds };
  const results = await floodAll(context, flood, seconds);
  const figure = `${PACED_PER_SECOND} garbage/s for ${seconds} s, ${bufferLabel(context)}`;
  const row = makeRows("flood", context, results);
  return [
    row(`${figure}: knocks executed`, `of ${KNOCKS}`, (result) => result.executed, atLeast(KNOCKS)),
    row(`${figure}: datagram to stamp, p50`, "ms", (result) => quantile(result.latenciesMs, 0.5)),
    row(
      `${figure}: datagram to stamp, p95`,
      "ms",
      (result) => quantile(result.latenciesMs, 0.95),
      atMost(10),
    ),
    row(`${figure}: server CPU`, "s", (result) => result.cpuSeconds),
    row(`${figure}: server memory before`, "MB", (result) => result.residentBeforeMb),
    row(`${figure}: server memory, peak`, "MB", (result) => peakOf(result)),
    row(
      `${figure}: server memory, second half above first`,
      "MB more",
      (result) => result.residentSecondMb - result.residentFirstMb,
      atMost(FLAT_MEMORY_MB),
    ),
    row(`${figure}: commands run twice`, "", (result) => result.ranTwice, atMost(0)),
  ];
}

/** 4.4 million garbage datagrams as fast as one sender can, with whatever receive buffer the kernel now gives. */
export async function measureUnthrottled(context: GroupContext, goal?: Goal): Promise<Row[]> {
  const count = context.isQuick ? QUICK_UNTHROTTLED_COUNT : UNTHROTTLED_COUNT;
  const results = await floodAll(
    context,
    { kind: "garbage", perSecond: 0, count },
    count / UNTHROTTLED_PER_SECOND,
  );
  const figure = `${count} garbage unthrottled, ${bufferLabel(context)}`;
  const row = makeRows("unthrottled", context, results);
  const perSecond = [...results].map(([name, { flood }]) =>
    `${name} ${Math.round(flood.sent / flood.seconds)}`
  );
  return [
    {
      ...row(`${figure}: knocks executed`, `of ${KNOCKS}`, (result) => result.executed, goal),
      note: `datagrams sent per second: ${perSecond.join(", ")}`,
    },
    row(`${figure}: datagram to stamp, p95`, "ms", (result) => quantile(result.latenciesMs, 0.95)),
    row(`${figure}: server CPU`, "s", (result) => result.cpuSeconds),
    row(`${figure}: server memory, peak`, "MB", (result) => peakOf(result)),
    row(`${figure}: commands run twice`, "", (result) => result.ranTwice, atMost(0)),
  ];
}

function peakOf({ residentFirstMb, residentSecondMb }: FloodResult): number {
  return Math.max(residentFirstMb, residentSecondMb);
}

async function floodAll(
  context: GroupContext,
  flood: Flood,
  seconds: number,
): Promise<Map<string, FloodResult>> {
  const program = await FloodProgram.compile(context.folder);
  const gapMs = seconds * MS_PER_SECOND / KNOCKS;
  const starts: (() => Promise<KnockProgram>)[] = [() => Postern.start(context.folder)];
  if (context.fwknopMissing === null) {
    for (const variant of VARIANTS) starts.push(() => Fwknop.start(context.folder, variant));
  }
  const results = new Map<string, FloodResult>();
  for (const start of starts) {
    await using target = await start();
    context.progress(`flood: ${flood.count} ${flood.kind} datagrams at ${target.name}`);
    results.set(target.name, await floodOne(target, program, flood, gapMs));
  }
  return results;
}

async function floodOne(
  target: KnockProgram,
  program: FloodProgram,
  flood: Flood,
  gapMs: number,
): Promise<FloodResult> {
  using sender = new Sender();
  for (let at = 0; at < WARM_UP_KNOCKS; at++) await knockOnce(target, "datagram", sender);
  await sleep(SETTLE_MS);
  const pid = target.serverPid;
  const residentBeforeMb = residentMb(pid);
  const cpuBefore = cpuSeconds(pid);
  const memory: number[] = [];
  const sampling = setInterval(() => memory.push(residentMb(pid)), SAMPLE_MS);
  const [sent, report] = await Promise.all([
    knockPaced(target, sender, { count: KNOCKS, gapMs }),
    program.run(target.port, flood),
  ]);
  clearInterval(sampling);
  const series = await judgeSeries(target, sent);
  await sleep(SETTLE_MS);
  const half = memory.length >> 1;
  return {
    ...series,
    flood: report,
    cpuSeconds: cpuSeconds(pid) - cpuBefore,
    residentBeforeMb,
    residentFirstMb: Math.max(...memory.slice(0, half)),
    residentSecondMb: Math.max(...memory.slice(half)),
  };
}

type MakeRow = (
  figure: string,
  unit: string,
  pick: (result: FloodResult) => number | null,
  goal?: Goal,
) => Row;

function makeRows(group: string, context: GroupContext, results: ReadonlyMap<string, FloodResult>): MakeRow {
  return (figure, unit, pick, goal) => {
    const valueOf = (name: string): number | null => {
      const result = results.get(name);
      return result === undefined ? null : pick(result);
    };
    const beside = VARIANTS.map((variant): Beside => {
      const name = `fwknopd ${variant}`;
      const missing = context.fwknopMissing ?? "no knock was executed";
      return { name, value: valueOf(name), missing };
    });
    return makeRow({
      group,
      figure,
      unit,
      ours: valueOf("postern"),
      beside,
      ...(goal === undefined ? {} : { goal }),
    });
  };
}
