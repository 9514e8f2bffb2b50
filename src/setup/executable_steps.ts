/** Executables, and what they unpack. */
import type { Findings } from "./preflight.ts";
import type { Changes } from "./service_steps.ts";
import { CACHE_DIR, COMMANDER_UNIT, executablePath, SERVER_UNIT, SETUP_STATE_DIR } from "./layout.ts";
import { findEntry } from "./manifest.ts";
import { INSTALLED_ROLES, type Role } from "./role.ts";
import type { Step } from "./steps.ts";
import { SHELL } from "./update/child_program.ts";
import type { StagedExecutable, Undertaking } from "./undertaking.ts";

const EXECUTABLE_MODE = 0o755;
const TRIAL_DIR = `${SETUP_STATE_DIR}/setup-trial`;
const UNIT_OF: Readonly<Partial<Record<Role, string>>> = { server: SERVER_UNIT, commander: COMMANDER_UNIT };

type ExecutableState = "missing" | "as planned" | "of another version" | "updated" | "changed" | "not ours";

export function executableStep(
  work: Undertaking,
  { executables: source, active }: Findings,
  changes: Changes,
): Step {
  async function stateOf(role: Role): Promise<ExecutableState> {
    const path = executablePath(role);
    if (await work.machine.stat(work.at(path)) === null) return "missing";
    const entry = findEntry(work.manifest, path);
    if (entry === undefined) return "not ours";
    const found = await work.machine.sha256(work.at(path));
    if (found === await updatedSha256(work, role)) return "updated";
    if (found !== entry.sha256 && found !== entry.replaces) return "changed";
    return found === entry.sha256 && entry.source === await source.sha256(role)
      ? "as planned"
      : "of another version";
  }
  async function pending(): Promise<Role[]> {
    const states = await Promise.all(INSTALLED_ROLES.map(stateOf));
    return INSTALLED_ROLES.filter((_role, i) =>
      states[i] === "missing" || states[i] === "of another version"
    );
  }
  return {
    name: "executables",
    why: `one for each role, from ${source.from}`,
    plan: async () =>
      (await pending()).map((role) => `install ${work.at(executablePath(role))} (root, 0755)`),
    async apply(): Promise<void> {
      const roles = await pending();
      if (work.root === "/") await work.mustRestart(roles.flatMap((role) => UNIT_OF[role] ?? []));
      const staged = new Map<Role, StagedExecutable>();
      for (const role of roles) {
        const entry = {
          path: executablePath(role),
          kind: "executable",
          mode: EXECUTABLE_MODE,
          owner: "root",
          source: await source.sha256(role),
        } as const;
        staged.set(role, await work.stageExecutable(entry, (to) => source.make(role, to)));
      }
      // Before they have their names: after a power cut the machine starts whatever has them.
      if (active.length > 0 && roles.some((role) => UNIT_OF[role] !== undefined)) {
        await undoUnpacking(work);
        await tryBeside(work, staged);
        changes.tried = true;
      }
      for (const each of staged.values()) await work.placeExecutable(each);
    },
    async kept(): Promise<string[]> {
      const states = await Promise.all(INSTALLED_ROLES.map(stateOf));
      return INSTALLED_ROLES.flatMap((role, i) => {
        const path = work.at(executablePath(role));
        if (states[i] === "updated") return [`${path} came with an update`];
        if (states[i] === "changed") return [`${path} was changed since setup wrote it`];
        return states[i] === "not ours" ? [`${path} was there before`] : [];
      });
    },
  };
}

/** Has each executable unpack itself as root: the services may not write there, and must not need to. */
export function unpackStep(work: Undertaking): Step {
  const cache = work.at(CACHE_DIR);
  /** What is installed, as one text. */
  async function fingerprint(): Promise<string> {
    const hashes = await Promise.all(INSTALLED_ROLES.map(async (role) => {
      const path = work.at(executablePath(role));
      return await work.machine.stat(path) === null ? "" : await work.machine.sha256(path);
    }));
    return hashes.join(" ");
  }
  return {
    name: "unpacked runtime",
    why: "the services run it and cannot write it",
    async plan(): Promise<string[]> {
      const entry = findEntry(work.manifest, CACHE_DIR);
      if (entry?.source === await fingerprint()) return [];
      return [`unpack the executables into ${cache} (root, read-only for the services)`];
    },
    async apply(): Promise<void> {
      const env = work.root === "/" ? {} : { POSTERN_CACHE_DIR: cache };
      await undoUnpacking(work);
      for (const role of INSTALLED_ROLES) {
        // By the shell: a file that `--allow-run` names is made unwritable by the runtime, and this one was just written.
        const words = ["-c", 'exec "$@"', "sh", work.at(executablePath(role)), "--unpack"];
        await work.run(`unpack postern-${role}`, SHELL, words, null, env);
      }
      // Written down last: what is unpacked half-way is unpacked again. The folder may have been made by this very
      // executable before a line of it ran; nothing else is ever in it, so it goes with the rest.
      const entry = { path: CACHE_DIR, kind: "cache", mode: 0o755, owner: "root" } as const;
      await work.record([{ ...entry, source: await fingerprint() }]);
    },
  };
}

/** Has whatever comes into the cache from now on taken away again if this run fails. */
async function undoUnpacking(work: Undertaking): Promise<void> {
  const cache = work.at(CACHE_DIR);
  const before = new Set(await work.machine.list(cache));
  work.onUndo(`what was unpacked into ${CACHE_DIR}`, async () => {
    for (const name of await work.machine.list(cache)) {
      if (!before.has(name)) await work.machine.removeTree(`${cache}/${name}`);
    }
  });
}

/** A knock on server and commander as they will be, beside the ones that run. */
export async function tryBeside(
  work: Undertaking,
  staged: ReadonlyMap<Role, StagedExecutable> = new Map(),
): Promise<void> {
  const pathOf = (role: Role): string => staged.get(role)?.temporary ?? work.at(executablePath(role));
  const serverPath = pathOf("server");
  const commanderPath = pathOf("commander");
  for (const path of [serverPath, commanderPath]) {
    // What `deno compile` made has the permissions of the standard layout baked in, so it starts nowhere else: the knock
    // after the restart decides, and the old ones come back if it fails.
    if (await work.machine.isCompiled(path)) return;
  }
  await work.machine.tryBeside({ serverPath, commanderPath, dir: TRIAL_DIR });
}

/** What `client update` installed last, by its own record. */
export async function updatedSha256(work: Undertaking, role: Role): Promise<string | null> {
  const bytes = await work.machine.read(work.at(`${SETUP_STATE_DIR}/release.json`));
  if (bytes === null) return null;
  let record: unknown;
  try {
    record = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null; // Then what an update installed counts as changed, and stays.
  }
  if (typeof record !== "object" || record === null || !("files" in record)) return null;
  const files = record.files;
  if (typeof files !== "object" || files === null) return null;
  const hash: unknown = new Map<string, unknown>(Object.entries(files)).get(role);
  return typeof hash === "string" ? hash : null;
}
