/** Proves a knock on services that were restarted a moment ago. */
import { loadServerConfig } from "../../server/knock/config.ts";
import { Failure } from "../../system/failure.ts";
import { SERVER_UNIT } from "../layout.ts";
import type { ProofOptions } from "../proof.ts";
import { readStatusCounts } from "../status_counts.ts";

export interface ServiceProofOptions {
  readonly proof: ProofOptions;
  /** When the server was told to restart; null: it was not. */
  readonly restartedAtMs: number | null;
  readonly startTimeoutMs: number;
  readonly prove: (options: ProofOptions) => Promise<void>;
}

const POLL_MS = 100;
const ATTEMPTS = 3;
const PAUSE_MS = 1000;

/**
 * Waits until the status file is that of the new server, since the old one's counts stay until then, and proves. A
 * commander that is still starting loses a knock, so one that failed is not the last word.
 *
 * @throws {Failure} of the last attempt
 */
export async function proveServices(options: ServiceProofOptions): Promise<void> {
  const { proof, prove } = options;
  if (options.restartedAtMs !== null) {
    await waitForServer(proof.configPath, options.restartedAtMs, options.startTimeoutMs);
  }
  for (let attempt = 1;; attempt++) {
    try {
      return await prove(proof);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      await pause(PAUSE_MS);
    }
  }
}

async function waitForServer(configPath: string, restartedAtMs: number, timeoutMs: number): Promise<void> {
  const { statusPath } = await loadServerConfig(configPath);
  // Without one in JSON the proof itself says what is missing.
  if (statusPath === null || !statusPath.endsWith(".json")) return;
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const counts = await readStatusCounts(statusPath);
    if (counts !== null && counts.startedAtMs >= restartedAtMs) return;
    if (performance.now() >= deadlineMs) {
      throw new Failure(`the server did not write ${statusPath} within ${timeoutMs} ms after its restart`, {
        hint: `journalctl -u ${SERVER_UNIT} -n 20`,
      });
    }
    await pause(POLL_MS);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
