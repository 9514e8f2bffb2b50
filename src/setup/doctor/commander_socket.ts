/** The door between server and commander, as both doctors look at it. */
import { folderOf } from "../../system/path.ts";
import { notChecked, ok, type Outcome, problem, warning } from "./finding.ts";
import type { Machine } from "./machine.ts";
import { type Account, type AccountBook, barrierFor, mayUse, WRITE } from "./owner_words.ts";

export interface SocketSubject {
  readonly machine: Machine;
  readonly socketPath: string;
  readonly accounts: AccountBook;
  /** Whom the server runs as. */
  readonly user: Account | null;
}

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
const ROOT_UID = 0;
const START = "systemctl restart postern-commander; then: journalctl -u postern-commander -n 20";

export async function checkSocket(
  { machine, socketPath, accounts, user }: SocketSubject,
): Promise<Outcome[]> {
  const folder = folderOf(socketPath);
  const folderFacts = await machine.stat(folder);
  if (folderFacts === null) {
    return [
      problem(
        `${folder} (socket_dir) is not there: the commander does not run`,
        `install -d -m 755 ${folder}; ${START}`,
      ),
    ];
  }
  const outcomes: Outcome[] = [];
  const mayOthersWrite = (folderFacts.mode & WRITABLE_BY_OTHERS) !== 0 && (folderFacts.mode & STICKY) === 0;
  if (folderFacts.uid !== ROOT_UID || mayOthersWrite) {
    outcomes.push(
      warning(
        `others than root may put a socket of theirs into ${folder} (${accounts.describe(folderFacts)})`,
        `chown root ${folder} && chmod 755 ${folder}`,
      ),
    );
  }
  const facts = await machine.stat(socketPath);
  if (facts === null) {
    return [...outcomes, problem(`there is no ${socketPath}: the commander does not run`, START)];
  }
  if (facts.kind !== "socket") {
    return [
      ...outcomes,
      problem(`${socketPath} is no socket`, `after a look at it: rm ${socketPath}; ${START}`),
    ];
  }
  const has = accounts.describe(facts);
  if (user === null) {
    outcomes.push(notChecked("whether the server may connect: whom it runs as is not known here"));
  } else {
    const barrier = await barrierFor(machine, user, socketPath);
    if (barrier !== null) {
      outcomes.push(
        problem(`the server's user ${user.name} may not enter ${barrier}`, `chmod o+x ${barrier}`),
      );
    }
    if (!mayUse(user, facts, WRITE)) {
      outcomes.push(
        problem(
          `the server's user ${user.name} may not connect to ${socketPath} (${has}), so every knock is lost`,
          `socket_user = "${user.name}" in config.toml, then: systemctl restart postern-commander`,
        ),
      );
    }
  }
  return [...outcomes, await reachOutcome(machine, socketPath, has)];
}

async function reachOutcome(machine: Machine, path: string, has: string): Promise<Outcome> {
  let reach;
  try {
    reach = await machine.connectUnix(path);
  } catch (error) {
    // The runtime refuses, not the kernel: the path to be connected to comes from the server's configuration.
    if (error instanceof Deno.errors.NotCapable) {
      return notChecked(
        `whether the commander listens on ${path}: no permission to connect was given, as while config.toml has an error`,
        "postern server doctor",
      );
    }
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    return notChecked(
      `whether the commander listens on ${path}: only the server's user may connect`,
      "run it as root",
    );
  }
  switch (reach) {
    case "connected":
      return ok(`the commander listens on ${path} (${has})`);
    case "busy":
      return problem(`the commander does not accept what waits at ${path}: it is stuck or stopped`, START);
    default:
      return problem(`nobody listens on ${path}: it was left by a commander that is gone`, START);
  }
}
