/**
 * A sharing process that is killed (SIGKILL) at a chosen step of the disk: run by share_state_kill_test.ts with the
 * state folder and the number of the step. It says each act before it begins and when it is durable.
 */
import { SharePlace } from "../../../src/client/transfer/share_state_place.ts";
import { ShareState } from "../../../src/client/transfer/share_state.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { type FileLayer, type OpenFile, systemFiles } from "../../../src/system/file_layer.ts";
import { CODE, FINGERPRINT, KEY, oneFile, SECRETS } from "./share_states.ts";

/** Dies instead of the step of this number, or in the middle of it, if that is to write. */
class DeadlyLayer implements FileLayer {
  #stepsLeft: number;

  constructor(stepsLeft: number) {
    this.#stepsLeft = stepsLeft;
  }

  async createNew(path: string, mode: number): Promise<OpenFile> {
    this.#step();
    const file = await systemFiles.createNew(path, mode);
    return {
      write: async (bytes): Promise<number> => {
        if (this.#stepsLeft === 0) await file.write(bytes.subarray(0, bytes.length / 2));
        this.#step();
        return await file.write(bytes);
      },
      sync: (): Promise<void> => this.#before(() => file.sync()),
      close: (): void => file.close(),
    };
  }

  rename(from: string, to: string): Promise<void> {
    return this.#before(() => systemFiles.rename(from, to));
  }

  syncFolder(path: string): Promise<void> {
    return this.#before(() => systemFiles.syncFolder(path));
  }

  remove(path: string): Promise<void> {
    return this.#before(() => systemFiles.remove(path));
  }

  readFile(path: string): Promise<Uint8Array> {
    return systemFiles.readFile(path);
  }

  #before(act: () => Promise<void>): Promise<void> {
    this.#step();
    return act();
  }

  #step(): void {
    if (this.#stepsLeft-- === 0) Deno.kill(Deno.pid, "SIGKILL");
  }
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

async function does(what: string, act: () => Promise<void>): Promise<void> {
  say(`begins ${what}`);
  await act();
  say(`has ${what}`);
}

const [folder = "", steps = ""] = Deno.args;
const place = await SharePlace.take(folder, KEY, systemClock);
const state = await ShareState.open(place, {
  receivers: KEY.receivers,
  files: oneFile(),
  fingerprint: FINGERPRINT,
  layer: new DeadlyLayer(Number(steps)),
});
await does("offered", () => state.offerCode(CODE));
await does("spent 1", () => state.memoryOf(1).spend(SECRETS[0]));
await does("proven 1", () => state.memoryOf(1).proven(SECRETS[0]));
await does("spent 2", () => state.memoryOf(2).spend(SECRETS[1]));
await does("proven 2", () => state.memoryOf(2).proven(SECRETS[1]));
await does("finished 1", () => state.finished(1));
await does("finished 2", () => state.finished(2));
say("lives");
