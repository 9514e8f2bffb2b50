/** What it costs to run a program on a host from nothing: the client is started each time. */
import type { GroupContext } from "../group.ts";
import { median } from "../quantile.ts";
import { type Beside, makeRow, ratioAtMost, type Row, skippedRow } from "../row.ts";
import { missingOpenSsh, OpenSsh } from "./open_ssh.ts";
import { PosternManage } from "./postern.ts";

const GROUP = "manage-exec";
const ROUNDS = 31, QUICK_ROUNDS = 3, WARM_UP_ROUNDS = 2;
const DIST = new URL("../../dist/", import.meta.url).pathname;
const CLIENT = `${DIST}postern-client-${Deno.build.target}`;
const BUNDLE = `${DIST}postern.js`;
const COMMAND = ["--", "true"];

interface Subject {
  readonly name: string;
  readonly figure: string;
  readonly words: readonly [string, ...string[]];
  readonly env?: Record<string, string>;
  /** How it came to be, if it does not work. */
  readonly remedy?: string;
}

/** `client exec HOST -- true` beside `ssh HOST true` with a key, in turns. */
export async function measureExec(context: GroupContext): Promise<Row[]> {
  const sshMissing = await missingOpenSsh();
  await using owned = new AsyncDisposableStack();
  const postern = owned.use(await PosternManage.start());
  const ssh = sshMissing === null ? owned.use(await OpenSsh.start(context.folder)) : null;
  const ours = await subjects(postern, `${context.folder}/manage-exec-cache`);
  const working = ours.filter((subject) => run(subject));
  const peers: Subject[] = ssh === null ? [] : [{ name: "ssh", figure: "", words: ssh.words([], "true") }];
  const rounds = context.isQuick ? QUICK_ROUNDS : ROUNDS;
  context.progress(`${GROUP}: ${rounds} rounds`);
  const tookMs = timeInTurns([...working, ...peers], rounds);
  const beside: Beside = {
    name: "ssh",
    value: median(tookMs.get("ssh") ?? []),
    ...(sshMissing === null ? {} : { missing: sshMissing }),
  };
  return ours.map(({ name, figure, remedy = "" }) => {
    const took = tookMs.get(name);
    if (took === undefined) return skippedRow(GROUP, figure, `it does not work: ${remedy}`);
    return makeRow({
      group: GROUP,
      figure,
      unit: "ms",
      ours: median(took),
      beside: [beside],
      goal: ratioAtMost(1),
      note: `median of ${rounds} in turns`,
    });
  });
}

async function subjects(postern: PosternManage, cache: string): Promise<Subject[]> {
  const words = postern.line("exec", ...COMMAND), figure = "exec true on a host, cold";
  const remedy = "run deno task compile first";
  return [
    { name: "sources", figure: `${figure}, from sources`, words: await postern.words("exec", ...COMMAND) },
    {
      name: "bundle",
      figure: `${figure}, as dist/postern.js`,
      words: [
        Deno.execPath(),
        ...["run", "--no-prompt", "--unstable-net"],
        ...await postern.flags("exec", ...COMMAND),
        BUNDLE,
        ...words,
      ],
      remedy,
    },
    {
      name: "client",
      figure: `${figure}, self-extracting`,
      // Its own name says "client".
      words: [CLIENT, ...words.slice(1)],
      env: { POSTERN_CACHE_DIR: cache },
      remedy,
    },
  ];
}

/** Milliseconds of each round, by name. */
function timeInTurns(subjects: readonly Subject[], rounds: number): Map<string, number[]> {
  const tookMs = new Map<string, number[]>(subjects.map(({ name }) => [name, []]));
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const subject of subjects) {
      const beganMs = performance.now();
      if (!run(subject)) throw new Error(`"${subject.words.join(" ")}" failed`);
      if (round >= 0) tookMs.get(subject.name)?.push(performance.now() - beganMs);
    }
  }
  return tookMs;
}

/** Whether it did what it should. */
function run({ words: [program, ...args], env = {} }: Subject): boolean {
  try {
    const output = new Deno.Command(program, { args, env, stdin: "null", stdout: "null", stderr: "null" });
    return output.outputSync().success;
  } catch {
    return false;
  }
}
