/** What `deno task compile` built costs to start, beside the sources and an empty program. */
import { formatKey, generateKey } from "../src/protocol/knock/key.ts";
import type { GroupContext } from "./group.ts";
import { boundPort, listenOnLoopback } from "./loopback.ts";
import { mainPath } from "./postern.ts";
import { median } from "./quantile.ts";
import { type Beside, makeRow, type Row, skippedRow } from "./row.ts";

const GROUP = "built";
const ROUNDS = 31, QUICK_ROUNDS = 3, WARM_UP_ROUNDS = 2;
const COLD_ROUNDS = 5, QUICK_COLD_ROUNDS = 1;
const DIST = new URL("../dist/", import.meta.url).pathname;
const CLIENT = `${DIST}postern-client-${Deno.build.target}`;
const BUNDLE = `${DIST}postern.js`;

/** Start of `client send`: of the self-extracting client the first one, which unpacks, and later ones. */
export async function measureBuiltStart(context: GroupContext): Promise<Row[]> {
  for (const path of [CLIENT, BUNDLE]) {
    const isThere = await Deno.stat(path).then(() => true, () => false);
    if (!isThere) {
      return [skippedRow(GROUP, "client send as built", `no ${path}: run deno task compile first`)];
    }
  }
  const { folder, isQuick, progress } = context;
  progress("built: measuring");
  const emptyPath = `${folder}/empty.js`;
  await Deno.writeTextFile(emptyPath, "");
  using sink = listenOnLoopback();
  const words = ["send", "-a", `127.0.0.1:${boundPort(sink)}`, "-k", formatKey(generateKey())];
  const cache = `${folder}/built-cache`;
  const run = (program: string, args: readonly string[]): Deno.Command =>
    new Deno.Command(program, {
      args: [...args],
      // No config folder, so that none of them waits for a disk to make a counter durable.
      env: { POSTERN_CACHE_DIR: cache, HOME: "", XDG_CONFIG_HOME: "" },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
  const deno = (...args: string[]): Deno.Command => run(Deno.execPath(), ["run", "--no-prompt", ...args]);
  const net = ["--allow-net", "--allow-env"];
  const commands = {
    empty: deno(emptyPath),
    sources: deno(...net, mainPath, "client", ...words),
    bundle: deno(...net, "--unstable-net", BUNDLE, "client", ...words),
    client: run(CLIENT, words),
  };

  const cold: number[] = [];
  for (let round = 0; round < (isQuick ? QUICK_COLD_ROUNDS : COLD_ROUNDS); round++) {
    await Deno.remove(cache, { recursive: true }).catch(() => {});
    cold.push(timeMs("client", commands.client));
  }
  const warm = new Map<string, number[]>(Object.keys(commands).map((name) => [name, []]));
  for (let round = -WARM_UP_ROUNDS; round < (isQuick ? QUICK_ROUNDS : ROUNDS); round++) {
    for (const [name, command] of Object.entries(commands)) {
      const tookMs = timeMs(name, command);
      if (round >= 0) warm.get(name)?.push(tookMs);
    }
  }
  const at = (name: string): number | null => median(warm.get(name) ?? []);
  const empty: Beside = { name: "empty deno run", value: at("empty") };
  const row = (figure: string, ours: number | null): Row =>
    makeRow({ group: GROUP, figure, unit: "ms", ours, beside: [empty] });
  return [
    row("client send from sources, warm", at("sources")),
    row("client send as dist/postern.js, warm", at("bundle")),
    row("client send, self-extracting, warm", at("client")),
    row("client send, self-extracting, first start", median(cold)),
  ];
}

function timeMs(name: string, command: Deno.Command): number {
  const startMs = performance.now();
  const { success } = command.outputSync();
  if (!success) throw new Error(`"${name}" failed`);
  return performance.now() - startMs;
}
