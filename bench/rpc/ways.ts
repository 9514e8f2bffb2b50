/** Rows of unary calls: one group for each way that two ends can meet. */
import type { GroupContext } from "../group.ts";
import { type Goal, makeRow, ratioAtLeast, ratioAtMost, type Row } from "../row.ts";
import type { Measured } from "./load.ts";
import { Pair } from "./pair.ts";
import type { Payload, Wire } from "./subject.ts";
import { measureInTurns, type Results } from "./turns.ts";

const IN_FLIGHT = [1, 16, 256] as const;
/** Of long bodies in a smoke run: 256 of them would take longer than all the rest. */
const QUICK_LONG_IN_FLIGHT = [1, 16] as const;
const SHORT_BYTES = 64, LONG_BYTES = 1024 * 1024;

/** One program of a table, by its word in programs.ts. */
interface Contestant {
  readonly program: string;
  readonly label: string;
}

const OURS = "postern";
const GRPC: Contestant = { program: "grpc", label: "grpc-js" };
const BIRPC: Contestant = { program: "birpc", label: "birpc" };
const RAW: Contestant = { program: "raw", label: "raw copy loop" };
const UNTIMED: Contestant = { program: "birpc-no-timeout", label: "birpc without timeouts" };
const GIVING: Contestant = { program: "postern-giving-back", label: "postern, outputs given back" };
const SEALED: Contestant = { program: "postern-hmac", label: "postern, hmac and AES-GCM" };

/** A goal of one figure against one program. */
interface WayGoal {
  /** Ours by default. */
  readonly of?: Contestant;
  readonly bytes: number;
  readonly inFlight: number;
  readonly figure: Figure["name"];
  readonly against: Contestant;
  readonly goal: Goal;
}

/** One way, with those beside us; the ratio is taken against the first. */
interface Way {
  /** The word `--only` takes. */
  readonly group: string;
  readonly way: Wire | "worker" | "memory";
  readonly label: string;
  readonly short: readonly Contestant[];
  readonly long: readonly Contestant[];
  readonly goals: readonly WayGoal[];
}

interface Figure {
  readonly name: "calls/s" | "p50" | "p99";
  readonly unit: string;
  readonly of: (measured: Measured) => number;
}

const FIGURES: readonly Figure[] = [
  { name: "calls/s", unit: "calls/s", of: (measured) => measured.callsPerSecond },
  { name: "p50", unit: "us", of: (measured) => measured.p50Us },
  { name: "p99", unit: "us", of: (measured) => measured.p99Us },
];

const short = { bytes: SHORT_BYTES } as const;
const rate = { ...short, inFlight: 256, figure: "calls/s" } as const;
const bulk = { bytes: LONG_BYTES, inFlight: 16, figure: "calls/s", against: RAW } as const;
const latency = { ...short, inFlight: 1, figure: "p50" } as const;

const TCP: Way = {
  way: "tcp",
  label: "TCP",
  group: "tcp",
  short: [GRPC, BIRPC, UNTIMED, SEALED],
  long: [RAW, GRPC, BIRPC, GIVING, SEALED],
  goals: [
    { ...rate, against: GRPC, goal: ratioAtLeast(5) },
    { ...rate, against: BIRPC, goal: ratioAtLeast(1.5) },
    { ...latency, against: GRPC, goal: ratioAtMost(0.5) },
    // With one call in flight the loop copies what the other side is still writing; a call waits for its whole body.
    { ...bulk, goal: ratioAtLeast(0.7) },
    // The loop uses one buffer for all it copies; so do calls whose outputs are given back.
    { ...bulk, of: GIVING, goal: ratioAtLeast(0.7) },
  ],
};

const UNIX: Way = {
  way: "unix",
  label: "Unix socket",
  group: "unix",
  short: [GRPC, BIRPC],
  long: [RAW, GRPC, BIRPC, GIVING],
  goals: [{ ...latency, against: GRPC, goal: ratioAtMost(0.5) }],
};

const WORKER: Way = {
  way: "worker",
  label: "worker ring",
  group: "worker",
  short: [{ ...BIRPC, label: "birpc, postMessage" }],
  long: [{ ...BIRPC, label: "birpc, postMessage" }],
  goals: [{ ...rate, against: BIRPC, goal: ratioAtLeast(2) }],
};

const MEMORY: Way = {
  way: "memory",
  label: "memory",
  group: "in-process",
  short: [{ ...BIRPC, label: "birpc, MessageChannel" }],
  long: [{ ...BIRPC, label: "birpc, MessageChannel" }],
  goals: [],
};

export const measureTcp = (context: GroupContext): Promise<Row[]> => measureWay(context, TCP);
export const measureUnix = (context: GroupContext): Promise<Row[]> => measureWay(context, UNIX);
export const measureWorker = (context: GroupContext): Promise<Row[]> => measureWay(context, WORKER);
export const measureInProcess = (context: GroupContext): Promise<Row[]> => measureWay(context, MEMORY);

async function measureWay(context: GroupContext, way: Way): Promise<Row[]> {
  return [
    ...await measureBodies(context, way, "text", SHORT_BYTES, way.short),
    ...await measureBodies(context, way, "bytes", LONG_BYTES, way.long),
  ];
}

async function measureBodies(
  { folder, isQuick, progress }: GroupContext,
  way: Way,
  payload: Payload,
  bodyBytes: number,
  beside: readonly Contestant[],
): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const pairs = new Map<string, Pair>();
  for (const program of [OURS, ...beside.map((each) => each.program)]) {
    pairs.set(program, stack.use(await Pair.start({ program, way: way.way, payload, folder })));
  }
  const rows: Row[] = [];
  for (const inFlight of isQuick && bodyBytes === LONG_BYTES ? QUICK_LONG_IN_FLIGHT : IN_FLIGHT) {
    progress(`${way.label}: ${bodyLabel(bodyBytes)}, ${inFlight} in flight`);
    const results = await measureInTurns(pairs, { inFlight, bodyBytes }, isQuick);
    for (const figure of FIGURES) rows.push(...rowsOf(way, { bodyBytes, inFlight, figure, beside, results }));
  }
  return rows;
}

interface Found {
  readonly bodyBytes: number;
  readonly inFlight: number;
  readonly figure: Figure;
  readonly beside: readonly Contestant[];
  readonly results: Results;
}

/** A row with all programs, then one for each goal against another than the first of them. */
function rowsOf(way: Way, { bodyBytes, inFlight, figure, beside, results }: Found): Row[] {
  const goals = way.goals.filter((each) =>
    each.bytes === bodyBytes && each.inFlight === inFlight && each.figure === figure.name
  );
  const value = (program: string): number | null => {
    const measured = results.get(program);
    return measured === undefined ? null : figure.of(measured);
  };
  const row = (contestants: readonly Contestant[], label: string, goal?: Goal, ours = OURS): Row =>
    makeRow({
      group: way.group,
      figure: `${way.label}, ${bodyLabel(bodyBytes)}, ${inFlight} in flight: ${label}`,
      unit: figure.unit,
      ours: value(ours),
      beside: contestants.map(({ program, label }) => ({ name: label, value: value(program) })),
      ...(goal === undefined ? {} : { goal }),
    });
  const isFirst = ({ of, against }: WayGoal): boolean =>
    of === undefined && against.program === beside[0]?.program;
  return [
    row(beside, figure.name, goals.find(isFirst)?.goal),
    ...goals.filter((each) => !isFirst(each)).map(({ of, against, goal }) =>
      row(
        [against],
        `${figure.name}${of === undefined ? "" : ` of ${of.label},`} against ${against.label}`,
        goal,
        of?.program,
      )
    ),
  ];
}

function bodyLabel(bytes: number): string {
  return bytes === SHORT_BYTES ? "64 B text" : "1 MiB bytes";
}
