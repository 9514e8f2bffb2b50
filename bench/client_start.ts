/** What `client send` costs to start, from sources and as one bundle, beside an empty program and fwknop's client. */
import { formatKey, generateKey } from "../src/protocol/knock/key.ts";
import { Fwknop } from "./fwknop.ts";
import type { GroupContext } from "./group.ts";
import { boundPort, listenOnLoopback } from "./loopback.ts";
import { mainPath, posternClient } from "./postern.ts";
import { median } from "./quantile.ts";
import { type Beside, makeRow, ratioAtMost, type Row } from "./row.ts";

const GROUP = "start";
const ROUNDS = 41, QUICK_ROUNDS = 5, WARM_UP_ROUNDS = 2;

export async function measureClientStart(context: GroupContext): Promise<Row[]> {
  const { folder, isQuick, progress } = context;
  progress("client start: bundling");
  const emptyPath = `${folder}/empty.ts`;
  await Deno.writeTextFile(emptyPath, "");
  const bundlePath = await bundle(folder);
  // Something must listen, else the kernel's "port unreachable" is part of what is measured.
  using sink = listenOnLoopback();
  const words = ["-a", `127.0.0.1:${boundPort(sink)}`, "-k", formatKey(generateKey())];
  await using fwknop = context.fwknopMissing === null ? await Fwknop.start(folder, "tuned") : null;

  const commands: Record<string, Deno.Command> = {
    // What the measuring itself costs.
    nothing: new Deno.Command("true"),
    empty: new Deno.Command(Deno.execPath(), { args: ["run", emptyPath] }),
    sources: posternClient(["run", "--allow-net", mainPath], words),
    bundle: posternClient(["run", "--allow-net", "--unstable-net", bundlePath], words),
    counted: countedClient(`${folder}/client`, words),
    ...(fwknop === null ? {} : { fwknop: fwknop.clientCommand("10.0.0.1") }),
  };
  progress("client start: measuring");
  const medians = timeInTurns(commands, isQuick ? QUICK_ROUNDS : ROUNDS);
  const at = (name: string): number | null => medians.get(name) ?? null;
  const empty: Beside = { name: "empty deno run", value: at("empty") };
  const peer: Beside = context.fwknopMissing === null
    ? { name: "fwknop", value: at("fwknop") }
    : { name: "fwknop", value: null, missing: context.fwknopMissing };
  const nothing: Beside = { name: "true", value: at("nothing") };
  const row = (figure: string, name: string, limit?: number): Row =>
    makeRow({
      group: GROUP,
      figure,
      unit: "ms",
      ours: at(name),
      beside: [empty, peer, nothing],
      ...(limit === undefined ? {} : { goal: ratioAtMost(limit) }),
    });
  return [
    row("client send from sources, wall", "sources", 2.0),
    row("client send as one bundle, wall", "bundle", 1.6),
    row("client send from sources with a counter file, wall", "counted"),
  ];
}

/** Medians in milliseconds; the commands take turns, so that a busy moment of the machine hits all alike. */
function timeInTurns(
  commands: Readonly<Record<string, Deno.Command>>,
  rounds: number,
): Map<string, number | null> {
  const times = new Map<string, number[]>(Object.keys(commands).map((name) => [name, []]));
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const [name, command] of Object.entries(commands)) {
      const startMs = performance.now();
      const { success } = command.outputSync();
      const tookMs = performance.now() - startMs;
      if (!success) throw new Error(`the "${name}" client failed`);
      if (round >= 0) times.get(name)?.push(tookMs);
    }
  }
  return new Map(times.entries().map(([name, values]) => [name, median(values)]));
}

/** As a user has it who gives his config folder, so that the counter is made durable first. */
function countedClient(configFolder: string, words: readonly string[]): Deno.Command {
  Deno.mkdirSync(configFolder, { recursive: true, mode: 0o700 });
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...[
        "run",
        "--allow-net",
        "--allow-env",
        `--allow-read=${configFolder}`,
        `--allow-write=${configFolder}`,
      ],
      ...[mainPath, "client", "send", ...words],
    ],
    env: { POSTERN_CONF_DIR: configFolder },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  });
}

async function bundle(folder: string): Promise<string> {
  const path = `${folder}/postern.js`;
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--minify", "--output", path, mainPath],
    cwd: new URL("..", import.meta.url).pathname,
    stdout: "null",
  }).output();
  if (!success) throw new Error(`deno bundle failed: ${new TextDecoder().decode(stderr)}`);
  return path;
}
