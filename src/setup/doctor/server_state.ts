/** The server's own state: its folder, the replay floors, the room on the disk. */
import { decodeFloors, FloorsCodecError } from "../../protocol/knock/floors_codec.ts";
import { folderOf } from "../../system/path.ts";
import { describeMs } from "./clock_check.ts";
import { type Check, counted, notChecked, ok, type Outcome, problem, warning } from "./finding.ts";
import type { Machine } from "./machine.ts";
import { barrierFor, ENTER, mayUse, READ, WRITE } from "./owner_words.ts";
import { DF } from "./programs.ts";
import { readKeys } from "./server_keys.ts";
import type { ServerSubject } from "./server_subject.ts";

const WRITABLE_BY_OTHERS = 0o022;
const FLOORS_BYTES = 64 * 1024 * 1024;
const NS_PER_MS = 1_000_000n;
const MS_PER_SECOND = 1000;
/** A floor is the counter of the last knock, by the client's clock; so much it may be off without a word. */
const CLOCK_DOUBT_MS = 5000;
const FULL_KIB = 1024;
const NEARLY_FULL_KIB = 64 * 1024;

export function serverStateChecks(subject: ServerSubject): Check[] {
  return [
    { name: "state folder", run: () => checkFolder(subject) },
    { name: "replay floors", run: () => checkFloors(subject) },
    { name: "disk", run: () => checkDisk(subject.machine, subject.config.blocklistDir) },
  ];
}

async function checkFolder(subject: ServerSubject): Promise<Outcome[]> {
  const { machine, config, user, accounts, statusPath } = subject;
  const folder = config.blocklistDir;
  const owner = user?.name ?? "postern";
  const facts = await machine.stat(folder);
  const make = `install -d -m 700 -o ${owner} -g ${owner} ${folder}`;
  if (facts === null) {
    return [problem(`${folder} (blocklist_dir) is not there: the server does not start`, make)];
  }
  if (facts.kind !== "folder") {
    return [problem(`${folder} (blocklist_dir) is no folder`, "name another blocklist_dir")];
  }
  const outcomes: Outcome[] = [];
  const has = accounts.describe(facts);
  const right = `chown ${owner} ${folder} && chmod 700 ${folder}`;
  if (user === null) {
    outcomes.push(notChecked("whether the server may write its state: no user postern is known here"));
  } else {
    const barrier = await barrierFor(machine, user, folder);
    if (barrier !== null) {
      outcomes.push(problem(`the server's user ${owner} may not enter ${barrier}`, `chmod o+x ${barrier}`));
    }
    if (!mayUse(user, facts, READ | WRITE | ENTER)) {
      outcomes.push(
        problem(
          `the server's user ${owner} may not write ${folder} (${has}): no floor is saved, and no command runs`,
          right,
        ),
      );
    }
    for (const path of [config.floorsPath, config.lockPath, ...(statusPath === null ? [] : [statusPath])]) {
      const file = await machine.stat(path);
      if (file === null || mayUse(user, file, path === statusPath ? READ : READ | WRITE)) continue;
      outcomes.push(
        problem(
          `the server's user ${owner} may not use ${path} (${
            accounts.describe(file)
          }), perhaps since a run as root`,
          `chown ${owner} ${path}`,
        ),
      );
    }
  }
  if ((facts.mode & WRITABLE_BY_OTHERS) !== 0) {
    outcomes.push(
      warning(`others may write ${folder} (${has}): who takes the floors away makes old packets new`, right),
    );
  }
  if (statusPath !== null && await machine.stat(folderOf(statusPath)) === null) {
    outcomes.push(
      problem(
        `the folder of the status file ${statusPath} is not there`,
        `install -d -m 755 -o ${owner} ${folderOf(statusPath)}`,
      ),
    );
  }
  return outcomes.length > 0 ? outcomes : [ok(`${folder}: ${has}`)];
}

async function checkFloors(subject: ServerSubject): Promise<Outcome[]> {
  const { machine, config } = subject;
  const bytes = await machine.read(config.floorsPath, FLOORS_BYTES);
  if (bytes === null) return [ok(`${config.floorsPath} is not there yet; the server's first start makes it`)];
  let floors: ReadonlyMap<bigint, bigint>;
  try {
    floors = decodeFloors(bytes);
  } catch (error) {
    if (!(error instanceof FloorsCodecError)) throw error;
    return [
      problem(
        `${config.floorsPath} is damaged (${error.message}): the server does not start`,
        `restore it from a backup, or: mv ${config.floorsPath} ${config.floorsPath}.damaged (each key then gets a floor ` +
          "of now, which refuses every packet made before)",
      ),
    ];
  }
  const outcomes: Outcome[] = [];
  const keys = await readKeys(subject);
  for (const { stem, key } of keys) {
    const floor = floors.get(key.id);
    if (floor === undefined) continue;
    const aheadMs = Number(floor / NS_PER_MS) - machine.wallMs();
    if (aheadMs <= CLOCK_DOUBT_MS) continue;
    outcomes.push(floorAhead(stem, aheadMs, config.maxClockSkewSeconds * MS_PER_SECOND, config.configDir));
  }
  return outcomes.length > 0 ? outcomes : [ok(`${counted(floors.size, "floor")}, none ahead of the clock`)];
}

/** A floor only ever goes up, or every old packet could be played again; so there is no command that lowers one. */
function floorAhead(stem: string, aheadMs: number, skewMs: number, folder: string): Outcome {
  const path = `${folder}/${stem}.key`;
  const fix = "if this machine's clock is behind, set it; otherwise give out a new key: " +
    `mv ${path} ${path}.old && postern client gen --key-file ${path}`;
  const ahead = `the floor of key ${stem} is ${describeMs(aheadMs)} ahead of the clock`;
  if (aheadMs > skewMs) {
    return problem(
      `${ahead}, further than max_clock_skew_seconds: every knock with it is refused (replayed, beyond_skew) for the ` +
        `next ${describeMs(aheadMs - skewMs)} at least`,
      fix,
    );
  }
  return warning(
    `${ahead}: a client that does not keep its counter in a file is refused (replayed) for that long`,
    fix,
  );
}

export async function checkDisk(machine: Machine, folder: string): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const [option, what] of [["-Pk", "bytes"], ["-Pi", "files"]] as const) {
    const result = await machine.run(DF, [option, folder]);
    const [, , , available, , mount] = (result?.stdout.trim().split("\n").at(-1) ?? "").split(/\s+/);
    // Some file systems count no files and say a dash.
    if (what === "files" && !/^[0-9]+$/.test(available ?? "")) continue;
    if (result === null || result.code !== 0 || available === undefined) {
      return [notChecked(`how full the disk of ${folder} is: df could not tell`)];
    }
    const left = Number(available);
    const look = `make room on ${mount}: du -xh -d 2 ${mount} | sort -h | tail`;
    if (what === "files") {
      if (left === 0) {
        outcomes.push(problem(`no more files can be made on ${mount} (its inodes are used up)`, look));
      }
    } else if (left < FULL_KIB) {
      outcomes.push(
        problem(`the disk of ${folder} is full (${left} KiB left on ${mount}): nothing can be saved`, look),
      );
    } else if (left < NEARLY_FULL_KIB) {
      outcomes.push(warning(`the disk of ${folder} is nearly full (${left} KiB left on ${mount})`, look));
    } else outcomes.push(ok(`${Math.floor(left / 1024)} MiB left on ${mount}`));
  }
  return outcomes;
}
