/** Starts the stored counter over: the way out when its file is damaged or ran far ahead of the clock. */
import { type Clock, systemClock } from "../../system/clock.ts";
import { Failure } from "../../system/failure.ts";
import { unusableFolderHint } from "./config_folder.ts";
import { CounterFile, type ReseedResult } from "./counter_file.ts";

/**
 * Sets the counter of the config folder to the present time.
 *
 * @param folder from `usableConfigFolder`; null is refused, since there is nothing to start over
 * @throws {Failure} if there is no config folder, or it cannot be locked or written
 */
export async function reseedCounter(
  folder: string | null,
  clock: Clock = systemClock,
): Promise<ReseedResult> {
  if (folder === null) {
    throw new Failure("cannot reseed the counter: found no config folder that may be read and written", {
      hint: unusableFolderHint(),
    });
  }
  return await new CounterFile(folder, clock).reseed();
}
