/** That speed was not bought with safety: what must never run does not, also after a crash of the server. */
import { Fwknop } from "./fwknop.ts";
import type { GroupContext } from "./group.ts";
import { Postern } from "./postern.ts";
import type { KnockProgram } from "./program.ts";
import { atMost, type Beside, makeRow, type Row } from "./row.ts";
import { Sender } from "./series.ts";
import { holdsWithin, sleep } from "./sleep.ts";
import { freshIds } from "./stamp_file.ts";

const GROUP = "replay";
const KNOCKS = 10;
const RUN_LIMIT_MS = 2000;
/** Long enough for a command that should not run to leave its stamp. */
const WATCH_MS = 500;

interface ReplayResult {
  readonly replayed: number;
  readonly tampered: number;
}

export async function measureReplay(context: GroupContext): Promise<Row[]> {
  context.progress("replay after kill -9");
  await using postern = await Postern.start(context.folder);
  const ours = await attack(postern);
  const relayed = await relay(postern);
  let peer: ReplayResult | null = null;
  if (context.fwknopMissing === null) {
    await using fwknop = await Fwknop.start(context.folder, "tuned");
    peer = await attack(fwknop);
  }
  const beside = (value: number | undefined): Beside => ({
    name: "fwknopd tuned",
    value: value ?? null,
    missing: context.fwknopMissing ?? "not measured",
  });
  const row = (figure: string, value: number, others: readonly Beside[]): Row =>
    makeRow({ group: GROUP, figure, unit: `of ${KNOCKS}`, ours: value, beside: others, goal: atMost(0) });
  return [
    row("ran again: replayed at once and after kill -9", ours.replayed, [beside(peer?.replayed)]),
    row("ran: one bit of the packet flipped", ours.tampered, [beside(peer?.tampered)]),
    row("ran: strict packet relayed from another address", relayed, []),
  ];
}

/** @throws {Error} if the knocks did not run in the first place, because then nothing is shown */
async function attack(program: KnockProgram): Promise<ReplayResult> {
  using sender = new Sender();
  const ids = freshIds(KNOCKS);
  const packets = await program.makePackets(ids);
  const runs = (): number => ids.reduce((sum, id) => sum + (program.stamps.read().get(id)?.length ?? 0), 0);
  for (const packet of packets) await sender.send(program, packet);
  if (!await holdsWithin(RUN_LIMIT_MS, () => runs() === KNOCKS)) {
    throw new Error(`${program.name}: ${runs()} of ${KNOCKS} knocks ran before the replay`);
  }
  for (const packet of packets) await sender.send(program, packet);
  await sleep(WATCH_MS);
  await program.restart();
  for (const packet of packets) await sender.send(program, packet);
  await sleep(WATCH_MS);
  const replayed = runs() - KNOCKS;

  const tamperedIds = freshIds(KNOCKS);
  for (const [at, packet] of (await program.makePackets(tamperedIds)).entries()) {
    const position = Math.floor(at * packet.length / KNOCKS);
    packet[position] = (packet[position] ?? 0) ^ 1;
    await sender.send(program, packet);
  }
  await sleep(WATCH_MS);
  return { replayed, tampered: tamperedIds.filter((id) => program.stamps.read().has(id)).length };
}

/** Strict packets that carry one address and come from another; those that ran. */
async function relay(postern: Postern): Promise<number> {
  using sender = new Sender();
  const ids = freshIds(KNOCKS);
  for (const packet of postern.makeStrictPackets(ids)) await sender.send(postern, packet);
  await sleep(WATCH_MS);
  return ids.filter((id) => postern.stamps.read().has(id)).length;
}
