/**
 * `deno task fuzz --seconds N --seed S`: fuzzes every parser, the judge and a whole RPC peer, see `fuzz_targets.ts`.
 *
 * Prints the seed and how many inputs each target took and accepted. The first failure ends it with exit code 1,
 * the seed and the input as hex; `--target NAME --input HEX` shows that failure again.
 */
import { parseArgs } from "node:util";
import { FuzzRandom } from "./fuzz_random.ts";
import type { FuzzTarget } from "./fuzz_target.ts";
import { fuzzTargets } from "./fuzz_targets.ts";

const TURN_MS = 20;
const DEFAULT_SECONDS = "10";
const USAGE = "usage: deno task fuzz [--seconds N] [--seed S] [--target NAME [--input HEX]]";

interface Tally {
  readonly target: FuzzTarget;
  readonly random: FuzzRandom;
  cases: number;
  accepted: number;
  /** Time it has had, in milliseconds. */
  spentMs: number;
}

interface Failed {
  readonly target: FuzzTarget;
  readonly input: Uint8Array;
  readonly error: unknown;
}

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options === null) {
    print(USAGE);
    return 2;
  }
  const { seconds, seed, targets, input } = options;
  if (input !== null) {
    return await reportReplay(targets, input);
  }
  print(`fuzzing for ${seconds} s with seed ${seed}`);
  const tallies = targets.map((target, i) => ({
    target,
    random: new FuzzRandom(seed + i),
    cases: 0,
    accepted: 0,
    spentMs: 0,
  }));
  const failed = await run(tallies, seconds);
  for (const { target, cases, accepted } of tallies) {
    print(
      `${target.name.padEnd(20)} ${String(cases).padStart(9)} cases ${String(accepted).padStart(9)} accepted`,
    );
  }
  print(`seed ${seed}: ${failed === null ? "no failure" : "FAILED"}`);
  return failed === null ? 0 : reportFailure(failed, seed);
}

/**
 * Gives a turn to whoever has had least time, until the time is over or the first of them fails; each gets one. So a
 * target whose single cases are long takes nothing from the others.
 */
async function run(tallies: readonly Tally[], seconds: number): Promise<Failed | null> {
  const endMs = performance.now() + seconds * 1000;
  for (;;) {
    const tally = tallies.reduce((least, each) => each.spentMs < least.spentMs ? each : least);
    if (tally.spentMs > 0 && performance.now() >= endMs) {
      return null;
    }
    const failed = await takeTurn(tally);
    if (failed !== null) {
      return failed;
    }
  }
}

async function takeTurn(tally: Tally): Promise<Failed | null> {
  const beganMs = performance.now();
  do {
    const input = tally.target.make(tally.random);
    tally.cases++;
    try {
      const answer = tally.target.accepts(input.slice());
      // Most targets answer at once, and waiting for nothing would take most of their turn.
      tally.accepted += (typeof answer === "boolean" ? answer : await answer) ? 1 : 0;
    } catch (error) {
      return { target: tally.target, input, error };
    }
  } while (performance.now() - beganMs < TURN_MS);
  tally.spentMs += performance.now() - beganMs;
  return null;
}

function reportFailure({ target, input, error }: Failed, seed: number): number {
  print(`target ${target.name}, seed ${seed}, input ${input.toHex() || '""'}`);
  print(error instanceof Error ? error.stack ?? error.message : String(error));
  print(`again: deno task fuzz --target ${target.name} --input ${input.toHex() || '""'}`);
  return 1;
}

async function reportReplay(targets: readonly FuzzTarget[], input: Uint8Array): Promise<number> {
  let code = 0;
  for (const target of targets) {
    try {
      print(`${target.name}: ${await target.accepts(input.slice()) ? "accepted" : "refused"}`);
    } catch (error) {
      print(`${target.name}: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
      code = 1;
    }
  }
  return code;
}

interface Options {
  readonly seconds: number;
  readonly seed: number;
  readonly targets: readonly FuzzTarget[];
  readonly input: Uint8Array | null;
}

function readOptions(args: readonly string[]): Options | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        seconds: { type: "string", default: DEFAULT_SECONDS },
        seed: { type: "string", default: String(crypto.getRandomValues(new Uint32Array(1))[0]) },
        target: { type: "string" },
        input: { type: "string" },
      },
    });
    const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
    const targets = fuzzTargets.filter(({ name }) => values.target === undefined || name === values.target);
    if (!(seconds >= 0) || !Number.isSafeInteger(seed) || targets.length === 0) {
      return null;
    }
    return {
      seconds,
      seed,
      targets,
      input: values.input === undefined ? null : Uint8Array.fromHex(values.input),
    };
  } catch {
    return null; // an unknown flag, or an input that is not hex
  }
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

Deno.exit(await main(Deno.args));
