/**
 * A flood by someone who has sniffed a packet: behind a key id that is in force, each datagram from another forged
 * source address. Whoever knocked before gets through; a new address depends on the draw.
 */
import { FloodProgram } from "./flood_program.ts";
import { bufferLabel, type GroupContext } from "./group.ts";
import { Postern } from "./postern.ts";
import { quantile } from "./quantile.ts";
import { atLeast, makeRow, type Row } from "./row.ts";
import { judgeSeries, knockOnce, knockPaced, Sender, type SentKnock, type SeriesResult } from "./series.ts";
import { cpuSeconds } from "./usage.ts";

const GROUP = "sniffed";
const KNOCKS = 20;
const PER_SECOND = 80_000, SECONDS = 5, QUICK_SECONDS = 1;
const KNOWN_ADDRESS = "127.0.0.1";
const MS_PER_SECOND = 1000;

export async function measureSniffed(context: GroupContext): Promise<Row[]> {
  const seconds = context.isQuick ? QUICK_SECONDS : SECONDS;
  const program = await FloodProgram.compile(context.folder);
  await using postern = await Postern.start(context.folder);
  using sender = new Sender();
  if (await knockOnce(postern, "datagram", sender) === null) {
    throw new Error("the first knock was not executed");
  }
  context.progress(`sniffed: ${PER_SECOND * seconds} forged datagrams behind a key id in force`);
  const cpuBefore = cpuSeconds(postern.serverPid);
  const [sent] = await Promise.all([
    knockPaced(postern, sender, {
      count: 2 * KNOCKS,
      gapMs: seconds * MS_PER_SECOND / (2 * KNOCKS),
      // Each new address once: after a knock that got through it is known.
      from: (at) => at % 2 === 0 ? KNOWN_ADDRESS : `127.0.1.${at}`,
    }),
    program.run(postern.port, {
      kind: "forged",
      perSecond: PER_SECOND,
      count: PER_SECOND * seconds,
      keyId: postern.keyId,
    }),
  ]);
  const cpu = cpuSeconds(postern.serverPid) - cpuBefore;
  const pick = (isKnown: boolean): Promise<SeriesResult> => judgeSeries(postern, knocksFrom(sent, isKnown));
  const known = await pick(true), stranger = await pick(false);
  const figure = `${PER_SECOND}/s forged behind a sniffed key id, ${bufferLabel(context)}`;
  const row = (label: string, unit: string, ours: number | null, goal?: ReturnType<typeof atLeast>): Row =>
    makeRow({
      group: GROUP,
      figure: `${figure}: ${label}`,
      unit,
      ours,
      ...(goal === undefined ? {} : { goal }),
    });
  return [
    row("executed, from a known address", `of ${KNOCKS}`, known.executed, atLeast(KNOCKS - 1)),
    row("datagram to stamp, known address, p95", "ms", quantile(known.latenciesMs, 0.95)),
    row("executed, each from a new address", `of ${KNOCKS}`, stranger.executed),
    row("server CPU", "s", cpu),
  ];
}

function knocksFrom(sent: ReadonlyMap<string, SentKnock>, isKnown: boolean): Map<string, SentKnock> {
  return new Map(sent.entries().filter(([_id, { from }]) => (from === KNOWN_ADDRESS) === isKnown));
}
