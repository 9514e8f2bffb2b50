/** A share that is killed between any two steps of the disk: no code is good for a second guess, no pairing is lost. */
import assert from "node:assert/strict";
import { SharePlace } from "../../../src/client/transfer/share_state_place.ts";
import { ShareState } from "../../../src/client/transfer/share_state.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { CODE, FINGERPRINT, KEY, oneFile, SECRETS } from "./share_states.ts";

const CHILD = new URL("./share_state_child.ts", import.meta.url).pathname;
/** Of a durable write: create, write, sync, rename, sync of the folder. */
const STEPS_A_WRITE = 5;
const WRITES = 7;

/** Runs the child until it is killed at this step. */
async function killedAt(step: number, folder: string): Promise<string[]> {
  const { stdout, signal, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "-A", CHILD, folder, String(step)],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  assert.equal(new TextDecoder().decode(stderr), "");
  assert.equal(signal, step < STEPS_A_WRITE * WRITES ? "SIGKILL" : null);
  return lines;
}

async function reopened(folder: string): Promise<ShareState> {
  const place = await SharePlace.take(folder, KEY, systemClock);
  assert.equal(place.notice, null);
  return await ShareState.open(place, {
    receivers: KEY.receivers,
    files: oneFile(),
    fingerprint: FINGERPRINT,
  });
}

/** What must hold after a restart, whatever was durable of the act that was under way. */
async function check(folder: string, lines: readonly string[]): Promise<void> {
  const has = (what: string): boolean => lines.includes(`has ${what}`);
  const begun = (what: string): boolean => lines.includes(`begins ${what}`);
  await using state = await reopened(folder);
  const resume = state.resume.map((secret) => secret.toHex());
  const told = JSON.stringify({ lines, resume, code: state.code, found: state.found });

  for (const [at, secret] of SECRETS.entries()) {
    const number = at + 1;
    if (has(`spent ${number}`) && !begun(`finished ${number}`)) {
      assert.ok(resume.includes(secret.toHex()), told);
    }
    if (!begun(`spent ${number}`) || has(`finished ${number}`)) {
      assert.ok(!resume.includes(secret.toHex()), told);
    }
    // A guess of which nobody knows whether it was right.
    if (has(`spent ${number}`) && !begun(`proven ${number}`)) assert.equal(state.code, null, told);
  }
  if (has("proven 2")) assert.equal(state.code, null, told);
  if (has("offered") && !begun("spent 1")) assert.equal(state.code, CODE, told);
  // Between a right guess and the next the code goes on being good.
  if (has("proven 1") && !begun("spent 2")) assert.equal(state.code, CODE, told);
  assert.equal(state.resume.length + state.admissible <= KEY.receivers, true, told);
  if (begun("spent 1") && state.code === null && has("spent 1")) await refusesCode(state, told);
}

async function refusesCode(state: ShareState, told: string): Promise<void> {
  await assert.rejects(
    state.offerCode(CODE),
    (error) => error instanceof TransferError && error.code === "spent",
    told,
  );
}

Deno.test({
  name: "ShareState killed at any step of the disk never offers a spent code, and loses no proven receiver",
  timeout: 120_000,
  fn: async () => {
    await using folder = await TempFolder.make("kill");
    const steps = Array.from({ length: STEPS_A_WRITE * WRITES + 1 }, (_, step) => step);
    let unspent = 0, spent = 0;
    const lane = async (): Promise<void> => {
      for (let step = steps.shift(); step !== undefined; step = steps.shift()) {
        const state = `${folder.path}/${step}`;
        const lines = await killedAt(step, state);
        if (lines.includes("has spent 1")) spent++;
        else unspent++;
        await check(state, lines);
      }
    };
    await Promise.all([lane(), lane(), lane()]);
    assert.equal(unspent, 2 * STEPS_A_WRITE);
    assert.equal(spent, 5 * STEPS_A_WRITE + 1);
  },
});
