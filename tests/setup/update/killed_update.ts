/**
 * An update, as a process of its own, that kills itself with -9 at one step; it ends with 0 if it never got there.
 * Arguments: folder of the lab, public key in base64, number of the step, `before` or `after`.
 */
import { parseReleaseLocation } from "../../../src/setup/update/release_location.ts";
import { parseReleaseKey } from "../../../src/setup/update/release_signature.ts";
import { update } from "../../../src/setup/update/update.ts";
import { FailingDisk } from "./failing_disk.ts";
import { layoutIn, NOW_MS, OLD_VERSION, TARGET } from "./update_lab.ts";

const [dir = "", key = "", step = "", when = ""] = Deno.args;
const disk = new FailingDisk({
  failsAt: Number(step),
  when: when === "after" ? "after" : "before",
  isDeath: true,
  act: (): never => {
    Deno.kill(Deno.pid, "SIGKILL");
    throw new Error("unreachable");
  },
});
await update(
  {
    from: parseReleaseLocation(`file://${dir}/releases`),
    version: undefined,
    role: undefined,
    publicKey: parseReleaseKey(key, "key"),
    force: false,
    skipProof: false,
    dryRun: false,
  },
  layoutIn(dir),
  {
    disk,
    services: {
      running: (units) => Promise.resolve([...units]),
      restart: () => disk.step(() => Promise.resolve()),
    },
    fetchLimits: { silenceTimeoutMs: 1000, fileTimeoutMs: 1000 },
    target: TARGET,
    uid: Deno.uid() ?? 0,
    version: OLD_VERSION,
    nowMs: () => NOW_MS,
    versionOf: () => Promise.resolve(OLD_VERSION),
    unpack: () => disk.step(() => Promise.resolve()),
    proveBeside: async () => {
      await disk.step(() => Promise.resolve());
      return [];
    },
    proveInstalled: () => disk.step(() => Promise.resolve()),
    removeUnusedCache: () => disk.step(() => Promise.resolve()),
    progress: () => {},
  },
);
