/** How late a key that is pressed shows up, beside ssh: what the way there and back adds to a terminal of this machine. */
import type { GroupContext } from "../group.ts";
import { quantile } from "../quantile.ts";
import { type Goal, makeRow, ratioAtMost, type Row, skippedRow } from "../row.ts";
import { missingOpenSsh, OpenSsh } from "./open_ssh.ts";
import { PosternManage } from "./postern.ts";
import { missingPrograms, runPython } from "./python.ts";

const GROUP = "manage-echo";
const FIGURE = "a key's echo over loopback, added to a local terminal";
const ROUNDS = 1500, QUICK_ROUNDS = 40;
/** Between two keys, so that each finds everything at rest, as keys of people do. */
const PAUSE_S = 0.01;
const MS_PER_S = 1000;
const LOCAL = "local", OURS = "postern", PEER = "ssh";
const ECHO_PATH = new URL("./echo.py", import.meta.url).pathname;

/** Seconds of each key, by terminal. */
export type Echoes = Readonly<Record<string, readonly number[]>>;

/** Key by key in turns: in a terminal of script(1), through `ssh -tt` and through `client shell`. */
export async function measureEcho(context: GroupContext): Promise<Row[]> {
  const missing = await missingPrograms("python3", "script");
  if (missing !== null) return [skippedRow(GROUP, FIGURE, missing)];
  const sshMissing = await missingOpenSsh();
  await using owned = new AsyncDisposableStack();
  const postern = owned.use(await PosternManage.start());
  const ssh = sshMissing === null ? owned.use(await OpenSsh.start(context.folder)) : null;
  const rounds = context.isQuick ? QUICK_ROUNDS : ROUNDS;
  context.progress(`${GROUP}: ${rounds} keys each`);
  const echoes: Echoes = JSON.parse(
    await runPython(ECHO_PATH, [`${rounds}`, `${PAUSE_S}`], {
      [LOCAL]: ["script", "-qf", "/dev/null"],
      ...(ssh === null ? {} : { [PEER]: ssh.words(["-tt"]) }),
      [OURS]: await postern.words("shell"),
    }),
  );
  const row = (q: number, goal: Goal | null): Row =>
    makeRow({
      group: GROUP,
      figure: `${FIGURE}, p${100 * q}`,
      unit: "ms",
      ours: addedMs(echoes, OURS, q),
      beside: [{
        name: PEER,
        value: addedMs(echoes, PEER, q),
        ...(sshMissing === null ? {} : { missing: sshMissing }),
      }],
      ...(goal === null ? {} : { goal }),
      note: `${rounds} keys each, in turns; the local terminal alone ${
        (MS_PER_S * (quantile(echoes[LOCAL] ?? [], q) ?? 0)).toFixed(2)
      } ms`,
    });
  return [row(0.5, ratioAtMost(1.5)), row(0.95, null)];
}

/** What a terminal takes longer than the local one at a quantile, in milliseconds; null if there are no keys of it. */
export function addedMs(echoes: Echoes, terminal: string, q: number): number | null {
  const there = quantile(echoes[terminal] ?? [], q), here = quantile(echoes[LOCAL] ?? [], q);
  return there === null || here === null ? null : MS_PER_S * (there - here);
}
