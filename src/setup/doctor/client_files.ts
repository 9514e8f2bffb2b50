/** What a knock takes from this machine's files: the key, and the counter in the config folder. */
import { configFolder } from "../../client/knock/config_folder.ts";
import { formatCounterTime } from "../../client/knock/counter.ts";
import { COUNTER_FILE_BYTES } from "../../client/knock/counter_file.ts";
import { formatKeyId, KEY_TEXT_CHARS, KeyError, parseKey } from "../../protocol/knock/key.ts";
import { absolutePath, joinPath } from "../../system/path.ts";
import { describeMs } from "./clock_check.ts";
import { type Check, notChecked, ok, type Outcome, problem, warning } from "./finding.ts";
import type { FileFacts, Machine } from "./machine.ts";
import { AccountBook, formatMode } from "./owner_words.ts";

const OTHERS_BITS = 0o077;
const WRITABLE_BY_OTHERS = 0o022;
const OWNER_USES = 0o600;
/** Root's, and shown to one group: a server's copy, which the server's user could not read any more after a chmod 600. */
const SERVERS_MODE = 0o640;
const ROOT_UID = 0;
const MAX_KEY_FILE_BYTES = KEY_TEXT_CHARS + 1024;
const NS_PER_MS = 1_000_000n;
const HOUR_MS = 3_600_000;
const RESEED = "postern client reseed";

export interface ClientFilesOptions {
  readonly machine: Machine;
  /** As typed with `--key-file`; undefined: none was named. */
  readonly keyPath: string | undefined;
}

export function clientFileChecks(options: ClientFilesOptions): Check[] {
  const { machine, keyPath } = options;
  return [
    {
      name: "key",
      run: () =>
        keyPath === undefined
          ? [notChecked("no key file was named", "postern client doctor -K FILE")]
          : checkKey(machine, absolutePath(keyPath)),
    },
    { name: "counter", run: () => checkCounter(machine) },
  ];
}

async function checkKey(machine: Machine, path: string): Promise<Outcome[]> {
  const facts = await machine.stat(path);
  if (facts === null) {
    return [
      problem(
        `there is no file ${path}`,
        `copy the key from whoever made it; a new one: postern client gen --key-file ${path}, then also on the server`,
      ),
    ];
  }
  if (facts.kind !== "file") return [problem(`${path} is no file`, "name the file of the key with -K FILE")];
  const text = new TextDecoder().decode(await machine.read(path, MAX_KEY_FILE_BYTES) ?? new Uint8Array());
  try {
    const id = formatKeyId(parseKey(text).id);
    return [
      ...await ownerOutcomes(machine, path, facts),
      ok(`${path} holds the key with the id ${id}; postern server --check lists the ids that it knows`),
    ];
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    // Nothing about its mode: it may be any file of the system, named by mistake.
    return [
      problem(`${path} holds no key: ${error.message}`, "copy the whole line again, from the server's file"),
    ];
  }
}

async function ownerOutcomes(machine: Machine, path: string, facts: FileFacts): Promise<Outcome[]> {
  const uid = machine.uid();
  if ((facts.mode & OTHERS_BITS) !== 0) {
    if (facts.uid === ROOT_UID && facts.mode === SERVERS_MODE) return [];
    return [
      warning(
        `${path} is open to other users (mode ${
          formatMode(facts.mode)
        }, accepted is 0600): who reads it can knock`,
        `chmod 600 ${path}`,
      ),
    ];
  }
  if (uid === null || uid === ROOT_UID || uid === facts.uid) return [];
  const accounts = await AccountBook.read(machine);
  return [
    problem(
      `${path} belongs to ${accounts.userName(facts.uid)}`,
      `sudo chown ${accounts.userName(uid)} ${path}`,
    ),
  ];
}

async function checkCounter(machine: Machine): Promise<Outcome[]> {
  const folder = configFolder((name) => machine.variable(name));
  if (folder === null) {
    return [
      warning(
        "no config folder is known (POSTERN_CONF_DIR, XDG_CONFIG_HOME and HOME are not set), so the counter is the clock",
        "set POSTERN_CONF_DIR, if this clock may ever go back",
      ),
    ];
  }
  const facts = await machine.stat(folder);
  if (facts === null) return [ok(`${folder} is not there yet; the first knock makes it`)];
  if (facts.kind !== "folder") {
    return [problem(`${folder} is no folder`, "name a folder in POSTERN_CONF_DIR")];
  }
  const outcomes = [...await folderOutcomes(machine, folder, facts)];
  try {
    if (await machine.isLocked(joinPath(folder, "client.lock")) === true) {
      outcomes.push(lockedOutcome(folder));
    }
    outcomes.push(await counterOutcome(machine, joinPath(folder, "counter")));
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    // Whose files they are was told above.
    outcomes.push(notChecked(`where the counter in ${folder} stands: ${error.message}`));
  }
  return outcomes;
}

function lockedOutcome(folder: string): Outcome {
  return warning(
    `another process holds ${folder}/client.lock just now; a knock waits 5 s for it`,
    `if it stays so: fuser -v ${folder}/client.lock`,
  );
}

async function folderOutcomes(machine: Machine, folder: string, facts: FileFacts): Promise<Outcome[]> {
  const uid = machine.uid();
  const outcomes: Outcome[] = [];
  const all: [string, FileFacts][] = [[folder, facts]];
  for (const name of ["client.lock", "counter"]) {
    const file = await machine.stat(joinPath(folder, name));
    if (file !== null) all.push([joinPath(folder, name), file]);
  }
  const foreign = uid === null || uid === ROOT_UID ? [] : all.filter(([, each]) => each.uid !== uid);
  if (uid !== null && foreign.length > 0) {
    const accounts = await AccountBook.read(machine);
    const owners = foreign.map(([path, each]) => `${path} belongs to ${accounts.userName(each.uid)}`);
    outcomes.push(
      problem(
        `${owners.join(", ")}, perhaps since a run as root`,
        `sudo chown -R ${accounts.userName(uid)} ${folder}`,
      ),
    );
  }
  const open = all.filter(([, each]) => (each.mode & WRITABLE_BY_OTHERS) !== 0);
  if (open.length > 0) {
    outcomes.push(
      warning(
        `others may write ${
          open.map(([path, each]) => `${path} (mode ${formatMode(each.mode)})`).join(", ")
        }: ` +
          "who moves the counter ahead mutes your knocks",
        `chmod -R go-w ${folder}`,
      ),
    );
  }
  const shut = all.filter(([, each]) => (each.mode & OWNER_USES) !== OWNER_USES);
  if (uid !== ROOT_UID && shut.length > 0) {
    outcomes.push(
      problem(
        `you may not read and write ${
          shut.map(([path, each]) => `${path} (mode ${formatMode(each.mode)})`).join(", ")
        }`,
        `chmod -R u+rwX ${folder}`,
      ),
    );
  }
  return outcomes;
}

async function counterOutcome(machine: Machine, path: string): Promise<Outcome> {
  const bytes = await machine.read(path, COUNTER_FILE_BYTES + 1);
  if (bytes === null) return ok(`${path} is not there yet; the first knock makes it`);
  if (bytes.length !== COUNTER_FILE_BYTES) {
    const found = bytes.length > COUNTER_FILE_BYTES
      ? `more than ${COUNTER_FILE_BYTES}`
      : String(bytes.length);
    return problem(`${path} is damaged: found ${found} bytes, accepted are ${COUNTER_FILE_BYTES}`, RESEED);
  }
  const counter = BigInt(`0x${bytes.toHex()}`);
  const aheadMs = Number(counter / NS_PER_MS) - machine.wallMs();
  if (aheadMs <= 0) return ok(`${path} stands at ${formatCounterTime(counter)}`);
  const ahead = `${path} stands at ${formatCounterTime(counter)}, ${describeMs(aheadMs)} ahead of the clock`;
  if (aheadMs > HOUR_MS) {
    return problem(
      `${ahead}: servers refuse what is more than an hour ahead (max_clock_skew_seconds)`,
      `if the clock is right now: ${RESEED}; a server that took such a counter refuses yours until then, and then ` +
        "only a new key helps",
    );
  }
  return warning(`${ahead}, perhaps since the clock was set back; knocks work all the same`, RESEED);
}
