/** The commands, who may write them, and what runs them. */
import { parseCommands } from "../../commander/knock/command_spec.ts";
import { foreignWriter } from "../../commander/knock/ownership.ts";
import { SHELL } from "../../commander/knock/shell_path.ts";
import { Failure } from "../../system/failure.ts";
import { folderOf } from "../../system/path.ts";
import { parseTomlBytes } from "../../system/toml_file.ts";
import type { CommanderSubject } from "./commander_subject.ts";
import { checkSocket } from "./commander_socket.ts";
import { type Check, notChecked, ok, type Outcome, problem, warning } from "./finding.ts";

const COMMANDS_BYTES = 4 * 1024 * 1024;
const ROOT_UID = 0;
const RESTART = "systemctl restart postern-commander";

export function commanderFileChecks(subject: CommanderSubject): Check[] {
  return [
    { name: "commands", run: () => checkCommands(subject) },
    { name: "user", run: () => checkUser(subject) },
    { name: "shell", run: () => checkShell(subject) },
    { name: "socket", run: () => checkDoor(subject) },
  ];
}

async function checkCommands(
  { machine, paths, ownUid, accounts, isRunning }: CommanderSubject,
): Promise<Outcome[]> {
  const path = paths.commandsPath;
  const facts = await machine.stat(path);
  if (facts === null) {
    return [
      problem(
        `there is no ${path}: the commander does not start`,
        `postern client setup, or write a [commands] table; ${RESTART}`,
      ),
    ];
  }
  if (facts.kind !== "file") return [problem(`${path} is no file`, "name the right one with --commands")];
  const outcomes: Outcome[] = [];
  const owner = accounts.userName(ownUid);
  if (foreignWriter(facts, ownUid) !== null) {
    outcomes.push(
      problem(
        `others than ${owner} may write ${path} (${
          accounts.describe(facts)
        }), and who can is ${owner}: the commander does ` +
          "not start",
        `chown ${owner} ${path} && chmod go-w ${path}`,
      ),
    );
  }
  const folder = folderOf(path);
  const folderFacts = await machine.stat(folder);
  if (folderFacts !== null && foreignWriter(folderFacts, ownUid, { stickyIsFine: true }) !== null) {
    outcomes.push(
      warning(
        `others than ${owner} may replace files in ${folder} (${
          accounts.describe(folderFacts)
        }), also ${path}`,
        `chown ${owner} ${folder} && chmod go-w ${folder}`,
      ),
    );
  }
  const bytes = await machine.read(path, COMMANDS_BYTES);
  try {
    const commands = parseCommands(parseTomlBytes(path, bytes ?? new Uint8Array(), { secret: true }));
    if (commands.length === 0) {
      outcomes.push(
        warning(
          `${path} has no commands, so every knock is ignored`,
          `write some below [commands], then: ${RESTART}`,
        ),
      );
    } else {
      // The commander makes its socket when it starts, and reads the commands at no other time.
      const socket = isRunning === true ? await machine.stat(paths.socketPath) : null;
      const isStale = socket !== null && facts.modifiedMs > socket.modifiedMs;
      outcomes.push(
        isStale
          ? warning(
            `${path} was changed after the commander started, which still has the old commands`,
            RESTART,
          )
          : ok(`${path} has ${commands.map(({ name }) => name).join(", ")}`),
      );
    }
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    outcomes.push(problem(error.message, `edit ${path}, then: postern commander --check`));
  }
  return outcomes;
}

function checkUser({ ownUid, accounts, isRunning }: CommanderSubject): Outcome[] {
  if (isRunning === null) {
    return [notChecked("whom the commander runs as: its lock cannot be looked at", "run it as root")];
  }
  if (ownUid === ROOT_UID) return [ok("root, as commands that open ports need it")];
  return [
    warning(
      `the commander runs as ${
        accounts.userName(ownUid)
      }: commands that need root (nft, ufw, systemctl) fail`,
      "run it as root, or give the commands what they need (sudo)",
    ),
  ];
}

async function checkShell({ machine }: CommanderSubject): Promise<Outcome[]> {
  const facts = await machine.stat(SHELL);
  if (facts?.kind === "file") return [ok(`${SHELL} is there`)];
  return [problem(`there is no ${SHELL}, which runs the commands`, "apt install dash")];
}

async function checkDoor(subject: CommanderSubject): Promise<Outcome[]> {
  const { source, socketUser, accounts, machine, paths } = subject;
  const named = source.table["socket_user"];
  const outcomes: Outcome[] = [];
  if (socketUser === null && named !== "") {
    const whom = typeof named === "string" ? `socket_user "${named}"` : "the user postern";
    outcomes.push(
      problem(
        `${whom} is not in /etc/passwd: the commander does not start`,
        "systemd-sysusers (postern client setup does it), or another socket_user",
      ),
    );
  }
  return [
    ...outcomes,
    ...await checkSocket({ machine, accounts, socketPath: paths.socketPath, user: socketUser }),
  ];
}
