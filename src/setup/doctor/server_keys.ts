/** Key files and grants: who may knock, and for what. */
import { commandHash, parseCommandHash } from "../../protocol/knock/command_hash.ts";
import { type Key, KEY_TEXT_CHARS, KeyError, parseKey } from "../../protocol/knock/key.ts";
import { parseCommands } from "../../commander/knock/command_spec.ts";
import { isInForce, OPEN_GRANT } from "../../server/knock/grants.ts";
import { COMMANDS_FILE_NAME } from "../../system/config_paths.ts";
import { Failure } from "../../system/failure.ts";
import { folderOf, joinPath } from "../../system/path.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import { parseTomlBytes } from "../../system/toml_file.ts";
import { type Check, notChecked, ok, type Outcome, problem, warning } from "./finding.ts";
import { barrierFor, formatMode, mayUse, READ } from "./owner_words.ts";
import type { ServerSubject } from "./server_subject.ts";

export interface NamedKey {
  readonly stem: string;
  readonly key: Key;
}

const SUFFIX = ".key";
const MAX_KEY_FILE_BYTES = KEY_TEXT_CHARS + 1024;
const READABLE_BY_ALL = 0o004;
const WRITABLE_BY_OTHERS = 0o022;
const COMMANDS_BYTES = 4 * 1024 * 1024;
const RELOAD = "systemctl reload postern-server";

export function serverKeyChecks(subject: ServerSubject): Check[] {
  return [
    { name: "key files", run: () => checkKeys(subject) },
    { name: "grants", run: () => checkGrants(subject) },
  ];
}

/** The keys of the folder that can be read; what is wrong with the others is the check's to say. */
export async function readKeys({ machine, config }: ServerSubject): Promise<NamedKey[]> {
  const keys: NamedKey[] = [];
  for (const stem of await keyStems({ machine, config })) {
    try {
      const bytes = await machine.read(joinPath(config.configDir, stem + SUFFIX), MAX_KEY_FILE_BYTES);
      if (bytes !== null) keys.push({ stem, key: parseKey(new TextDecoder().decode(bytes)) });
    } catch {
      // Told by `key files`.
    }
  }
  return keys;
}

async function keyStems({ machine, config }: Pick<ServerSubject, "machine" | "config">): Promise<string[]> {
  const names = await machine.list(config.configDir) ?? [];
  return names.filter((name) => name.endsWith(SUFFIX) && name !== SUFFIX).map((name) =>
    name.slice(0, -SUFFIX.length)
  );
}

async function checkKeys(subject: ServerSubject): Promise<Outcome[]> {
  const { machine, config, user } = subject;
  const folder = config.configDir;
  const stems = await keyStems(subject);
  const gen = `postern client gen --key-file ${joinPath(folder, "user.key")}`;
  if (await machine.stat(folder) === null) {
    return [problem(`the key folder ${folder} is not there`, `install -d -m 755 ${folder}`)];
  }
  if (stems.length === 0) return [problem(`there is no key in ${folder}: the server does not start`, gen)];
  const outcomes: Outcome[] = [];
  const barrier = user === null ? null : await barrierFor(machine, user, joinPath(folder, "any"));
  if (user !== null && barrier !== null) {
    outcomes.push(problem(`the server's user ${user.name} may not enter ${barrier}`, `chmod o+x ${barrier}`));
  }
  const paths = new Map<bigint, string>();
  let good = 0;
  for (const stem of stems) {
    const found = await checkKey(subject, stem, paths);
    if (found.length === 0) good++;
    outcomes.push(...found);
  }
  if (user === null) {
    outcomes.push(notChecked("whether the server may read its keys: no user postern is known here"));
  }
  return good === 0
    ? outcomes
    : [...outcomes, ok(`${good} of ${stems.length} in ${folder} are as they should be`)];
}

/** Nothing for a key as it should be. */
async function checkKey(
  { machine, config, user, accounts }: ServerSubject,
  stem: string,
  paths: Map<bigint, string>,
): Promise<Outcome[]> {
  const path = joinPath(config.configDir, stem + SUFFIX);
  const facts = await machine.stat(path);
  if (facts === null) return [problem(`${path} is a link to nothing`, `rm ${path}; then: ${RELOAD}`)];
  if (facts.kind !== "file") return [];
  const outcomes: Outcome[] = [];
  const has = accounts.describe(facts);
  const right = `chown root:${user?.name ?? "postern"} ${path} && chmod 640 ${path}`;
  if (user !== null && !mayUse(user, facts, READ)) {
    outcomes.push(problem(`the server's user ${user.name} may not read ${path} (${has})`, right));
  }
  if ((facts.mode & READABLE_BY_ALL) !== 0) {
    outcomes.push(
      warning(
        `every user of this machine can read ${path} (mode ${formatMode(facts.mode)}), and knock`,
        right,
      ),
    );
  } else if ((facts.mode & WRITABLE_BY_OTHERS) !== 0) {
    outcomes.push(warning(`others may write ${path} (${has})`, right));
  }
  const grant = config.grants.get(stem) ?? OPEN_GRANT;
  if (!isInForce(grant, machine.wallMs())) {
    const why = grant.disabled
      ? "disabled"
      : `past its not_after (${new Date(grant.notAfterMs ?? 0).toISOString()})`;
    outcomes.push(
      warning(
        `key ${stem} is ${why}: its packets are refused (unknown_key)`,
        `see [keys.${stem}]; then: ${RELOAD}`,
      ),
    );
  }
  let bytes: Uint8Array | null;
  try {
    bytes = await machine.read(path, MAX_KEY_FILE_BYTES);
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    return [...outcomes, notChecked(`${path} is not ours to read`, "run it as root")];
  }
  try {
    const { id } = parseKey(new TextDecoder().decode(bytes ?? new Uint8Array()));
    const twin = paths.get(id);
    if (twin !== undefined) {
      outcomes.push(
        problem(
          `${path} holds the same key as ${twin}: the server does not start`,
          `rm ${path}, and its [keys.${stem}]`,
        ),
      );
    }
    paths.set(id, path);
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    outcomes.push(
      problem(
        `${path} holds no key (${error.message}): the server does not start`,
        `move it away and make another: postern client gen --key-file ${path}`,
      ),
    );
  }
  return outcomes;
}

async function checkGrants(subject: ServerSubject): Promise<Outcome[]> {
  const { config, machine } = subject;
  const stems = await keyStems(subject);
  if (config.grants.size === 0) return [ok("none: every key may run every command")];
  const outcomes: Outcome[] = [];
  for (const stem of config.grants.keys()) {
    if (stems.includes(stem)) continue;
    outcomes.push(
      problem(
        `[keys.${stem}] has no file ${stem}${SUFFIX} in ${config.configDir}: the server does not start, a reload fails`,
        `copy the key there, or take the table out of ${config.configPath}; then: ${RELOAD}`,
      ),
    );
  }
  const commandsPath = joinPath(folderOf(config.configPath), COMMANDS_FILE_NAME);
  const known = await knownHashes(machine, commandsPath);
  if (typeof known === "string") {
    return [...outcomes, notChecked(`whether the granted commands exist: ${known}`)];
  }
  for (const [stem, names] of grantedNames(subject)) {
    const unknown = names.filter((name) =>
      !known.has(name.startsWith("#") ? parseCommandHash(name) : commandHash(name))
    );
    if (unknown.length === 0) continue;
    outcomes.push(
      warning(
        `[keys.${stem}] allows ${unknown.join(", ")}, which ${commandsPath} does not have`,
        `correct the name; ${commandsPath} has what postern commander --check lists`,
      ),
    );
  }
  return outcomes.length > 0
    ? outcomes
    : [ok(`limited, to commands that exist: ${[...config.grants.keys()].join(", ")}`)];
}

function* grantedNames({ config }: ServerSubject): Generator<[string, string[]]> {
  const keys = new TomlFields(config.source).table("keys");
  for (const stem of config.grants.keys()) {
    yield [stem, keys?.table(stem)?.texts("allow", "a list of names") ?? []];
  }
}

/** Hashes of all commands, or why they cannot be had. */
async function knownHashes(
  machine: ServerSubject["machine"],
  path: string,
): Promise<ReadonlySet<bigint> | string> {
  try {
    const bytes = await machine.read(path, COMMANDS_BYTES);
    if (bytes === null) return `there is no ${path}`;
    return new Set(parseCommands(parseTomlBytes(path, bytes, { secret: true })).map(({ hash }) => hash));
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return `${path} is root's to read`;
    if (error instanceof Failure) return `${path} cannot be understood; see postern commander doctor`;
    throw error;
  }
}
