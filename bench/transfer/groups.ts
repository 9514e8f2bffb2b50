/** The rows of the job "transfer": a small file, a large one, text, memory, going on, and what the machine can do. */
import type { Group, GroupContext } from "../group.ts";
import { atMost, type Beside, type Goal, makeRow, ratioAtLeast, ratioAtMost, type Row } from "../row.ts";
import { aesFloor } from "./aes_floor.ts";
import { Contest } from "./contest.ts";
import { diskNote } from "./disk.ts";
import { PosternTransfer } from "./postern.ts";
import { runTransfer } from "./run.ts";
import { makeSource, type SourceKind } from "./source_file.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const BYTES_PER_MB = 1e6;
const MS = 1000;
const SMALL_TURNS = 7, LARGE_TURNS = 3, QUICK_TURNS = 1;
const FLOOR_RECORDS = 4096, QUICK_FLOOR_RECORDS = 128, TURN_FLOOR_RECORDS = 512;
const MEMORY_LIMIT_MB = 100;

/** 1 MiB: what it costs to start both programs and to bring them together. */
export const measureTransferSmall: Group = async (context) => {
  const group = "transfer-small";
  await using source = await makeSource("random", MIB, context.folder);
  await using contest = await Contest.start(context.folder);
  const turns = context.isQuick ? QUICK_TURNS : SMALL_TURNS;
  const { ours, peers } = await contest.run(source, context.folder, {
    count: turns,
    floorRecords: 0,
    onTurn: say(context, group),
  });
  return [makeRow({
    group,
    figure: "1 MiB through a local relay, both programs started, wall",
    unit: "ms",
    ours: scaled(ours, MS),
    beside: peers.map((peer) => ({ ...peer, value: scaled(peer.value, MS) })),
    goal: ratioAtMost(0.5),
    note: `median of ${turns}`,
  })];
};

/** 1 GiB that cannot be compressed. */
export const measureTransferRandom: Group = async (context) =>
  await measureLarge(context, "transfer-random", "random", {
    figure: "random bytes, sender -> relay -> receiver",
    goal: ratioAtLeast(2),
    floorGoal: ratioAtLeast(0.6),
  });

/** 1 GiB of words. */
export const measureTransferText: Group = async (context) =>
  await measureLarge(context, "transfer-text", "text", {
    figure: "compressible text, sender -> relay -> receiver",
    goal: ratioAtLeast(3),
  });

interface LargeFigure {
  readonly figure: string;
  /** Against the fastest of the others. */
  readonly goal: Goal;
  /** Against the AES floor; left out: it is not held against it. */
  readonly floorGoal?: Goal;
}

async function measureLarge(
  context: GroupContext,
  group: string,
  kind: SourceKind,
  { figure, goal, floorGoal }: LargeFigure,
): Promise<Row[]> {
  const { folder, isQuick } = context;
  const [bytes, turns] = isQuick ? [128 * MIB, QUICK_TURNS] : [GIB, LARGE_TURNS];
  const disk = await diskNote(folder);
  const progress = say(context, group);
  progress("writing the file");
  await using source = await makeSource(kind, bytes, folder);
  await using contest = await Contest.start(folder);
  const results = await contest.run(source, folder, {
    count: turns,
    floorRecords: floorGoal === undefined ? 0 : TURN_FLOOR_RECORDS,
    onTurn: progress,
  });
  const rate = (seconds: number | null): number | null =>
    seconds === null ? null : bytes / BYTES_PER_MB / seconds;
  const peers = results.peers.map((peer): Beside => ({ ...peer, value: rate(peer.value) }));
  const sizes = `${bytes / MIB} MiB of ${figure}`;
  const base = { group, unit: "MB/s", ours: rate(results.ours) };
  const floor: Beside = { name: "AES floor", value: results.floor };
  return [
    makeRow({
      ...base,
      figure: sizes,
      beside: peers.toSorted((a, b) => (b.value ?? 0) - (a.value ?? 0)),
      goal,
      note: `median of ${turns}; ${disk}; only we make the file durable`,
    }),
    ...floorGoal === undefined
      ? []
      : [makeRow({ ...base, figure: `${sizes}, against AES`, beside: [floor], goal: floorGoal })],
  ];
}

/** The peak of each of our processes while a large file goes through. */
export const measureTransferMemory: Group = async (context) => {
  const group = "transfer-memory";
  const bytes = context.isQuick ? GIB / 2 : 4 * GIB;
  const progress = say(context, group);
  progress("writing the file");
  await using source = await makeSource("random", bytes, context.folder);
  await using postern = await PosternTransfer.start();
  progress("measuring");
  const { senderPeakMb, receiverPeakMb } = await runTransfer(postern, source, context.folder);
  const row = (who: string, ours: number): Row =>
    makeRow({
      group,
      figure: `${who}, peak of resident memory while ${bytes / MIB} MiB go through`,
      unit: "MB",
      ours,
      goal: atMost(MEMORY_LIMIT_MB),
    });
  return [row("sender", senderPeakMb), row("receiver", receiverPeakMb), row("relay", postern.relayPeakMb)];
};

/** What all the others are held against. */
export const measureTransferFloor: Group = async (context) => {
  const group = "transfer-floor";
  say(context, group)("measuring");
  return [makeRow({
    group,
    figure: "AES floor: WebCrypto AES-256-GCM, records of 1 MiB, one at a time",
    unit: "MB/s",
    ours: await aesFloor(context.isQuick ? QUICK_FLOOR_RECORDS : FLOOR_RECORDS),
  })];
};

function say({ progress }: GroupContext, group: string): (line: string) => void {
  return (line) => progress(`${group}: ${line}`);
}

function scaled(value: number | null, factor: number): number | null {
  return value === null ? null : value * factor;
}
