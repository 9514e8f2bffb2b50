/** Makes this machine a server: looks first, then does one step after another, and takes all back if one fails. */
import { describeError, Failure } from "../system/failure.ts";
import { type ExtraFile, keyPath } from "./installed_files.ts";
import { CHECK_KEY_PATH, COMMANDER_UNIT, CONFIG_PATH } from "./layout.ts";
import type { Machine } from "./machine.ts";
import { examine, type Findings, type SetupOptions } from "./preflight.ts";
import { setupSteps } from "./steps.ts";
import { Undertaking } from "./undertaking.ts";

/** A step that has something to do, or did it. */
export interface StepReport {
  readonly name: string;
  readonly why: string;
  readonly acts: readonly string[];
}

export interface SetupReport {
  readonly findings: Findings;
  /** Steps with something left to do; none: everything is there. */
  readonly steps: readonly StepReport[];
  /** What is not as this version would have it, and stays. */
  readonly kept: readonly string[];
  /** Below the root. */
  readonly keyPath: string;
  readonly proven: boolean;
}

/** A setup that failed, and what became of what it had done. */
export class SetupFailure extends Failure {
  /** Lines for the operator. */
  readonly done: readonly string[];
  readonly undone: readonly string[];
  /** What could not be taken back, each with its reason. */
  readonly stuck: readonly string[];

  constructor(step: string, cause: unknown, lists: { done: string[]; undone: string[]; stuck: string[] }) {
    const state = lists.stuck.length === 0
      ? "everything this run did was taken back"
      : "not everything could be taken back";
    super(`could not set up, at the step "${step}": ${describeError(cause)} (${state})`, {
      hint: cause instanceof Failure && cause.hint !== undefined
        ? cause.hint
        : lists.stuck.length === 0
        ? undefined
        : "put right what was not taken back, then run the same setup again: it adds what is missing",
    });
    this.name = "SetupFailure";
    this.done = lists.done;
    this.undone = lists.undone;
    this.stuck = lists.stuck;
  }
}

const PROOF_TIMEOUT_MS = 20_000;

/**
 * What a setup would do. Changes nothing.
 *
 * @throws {Failure} naming what stands in the way
 */
export async function planSetup(
  machine: Machine,
  options: SetupOptions,
  extras: readonly ExtraFile[],
): Promise<SetupReport> {
  const findings = await examine(machine, options, extras);
  const work = await Undertaking.begin(machine, options.root);
  const steps: StepReport[] = [];
  const kept: string[] = [];
  for (const step of setupSteps(work, findings, options, extras)) {
    const acts = await step.plan();
    if (acts.length > 0) steps.push({ name: step.name, why: step.why, acts });
    kept.push(...await step.kept?.() ?? []);
  }
  return { findings, steps, kept, keyPath: work.at(keyPath(options.keyName)), proven: false };
}

/**
 * Sets up.
 *
 * @param onStep told of each step when it is done
 * @param signal ends it: everything is taken back then
 * @throws {Failure} naming what stands in the way, before anything was changed
 * @throws {SetupFailure} if a step failed, after everything was taken back
 */
export async function runSetup(
  machine: Machine,
  options: SetupOptions,
  extras: readonly ExtraFile[],
  onStep: (step: StepReport) => void = () => {},
  signal?: AbortSignal,
): Promise<SetupReport> {
  const findings = await examine(machine, options, extras);
  const work = await Undertaking.begin(machine, options.root, signal);
  const done: StepReport[] = [];
  const kept: string[] = [];
  let current = "lock";
  // Held until everything is taken back, too.
  using held = new DisposableStack();
  try {
    held.use(await work.lock());
    const recovered = await machine.settleUpdate(options.root);
    if (recovered !== null) {
      kept.push(`the update to ${recovered.version}, which was broken off, was taken back first`);
    }
    for (const step of setupSteps(work, findings, options, extras)) {
      current = step.name;
      work.throwIfInterrupted();
      kept.push(...await step.kept?.() ?? []);
      const acts = await step.plan();
      if (acts.length === 0) continue;
      await step.apply();
      const report = { name: step.name, why: step.why, acts };
      done.push(report);
      onStep(report);
    }
    current = "proof";
    work.throwIfInterrupted();
    if (options.root === "/") await prove(machine);
    if (work.manifest.restart.length > 0) await work.rewrite((manifest) => ({ ...manifest, restart: [] }));
  } catch (error) {
    const { undone, stuck } = await work.undoAll();
    throw new SetupFailure(current, error, { done: done.flatMap(({ acts }) => acts), undone, stuck });
  }
  kept.push(...await work.commit());
  return {
    findings,
    steps: done,
    kept,
    keyPath: work.at(keyPath(options.keyName)),
    proven: options.root === "/",
  };
}

async function prove(machine: Machine): Promise<void> {
  await machine.prove({
    configPath: CONFIG_PATH,
    keyPath: CHECK_KEY_PATH,
    timeoutMs: PROOF_TIMEOUT_MS,
    commanderUnit: COMMANDER_UNIT,
  });
}
