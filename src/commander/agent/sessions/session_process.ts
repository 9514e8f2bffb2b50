/**
 * Programs of a session: how they are started, as which user, and how nothing of them is left.
 *
 * The agent may run one program only, /bin/sh, and everything else is started by it: `Deno.kill` of a group and the
 * change of user with all groups would each need more than that. Every program is in a session (setsid) of its own.
 */
import { SHELL } from "../../knock/shell_path.ts";
import type { SessionConfig } from "./hosted_session.ts";
import { StandbyEnder } from "./standby_ender.ts";

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const ENVIRONMENT: Readonly<Record<string, string>> = { PATH, LANG: "C.UTF-8" };

/** What the shell calls itself where it says why a program could not be started. */
const NAME = "host";

// The service that the agent is has a strict umask and is spared when memory runs out; its sessions are neither.
const SURROUNDINGS = `
umask 022
read -r score </proc/self/oom_score_adj && [ "$score" -lt 0 ] && echo 0 >/proc/self/oom_score_adj
`;

// Where there is no such folder it stays in /. A name that looks like an option of `exec` is one for some shells.
const ENTER = `
cd "$HOME" 2>/dev/null
unset OLDPWD
case $1 in -*) printf "%s: %s: not found\\n" "$0" "$1" >&2; exit 127 ;; esac
exec "$@"
`;

/**
 * Text of a script that becomes the program in `$@`, as the user, in the user's home folder. A program is looked for in
 * PATH; where it cannot be started the exit code is 127 or 126, with a text on standard error, as in any shell.
 *
 * Where the agent is root the program gets the groups of its user too, which `uid` and `gid` of the runtime would not
 * set, and the folder is entered as that user. Whoever may not become that user runs nothing.
 */
export const EXEC_AS_USER = `
{ ${SURROUNDINGS} } 2>/dev/null
unset score
if [ -n "$POSTERN_UID" ]; then
  set -- setpriv --reuid "$POSTERN_UID" --regid "$POSTERN_GID" --init-groups -- /bin/sh -c '${ENTER}' "$0" "$@"
  unset POSTERN_UID POSTERN_GID
  exec "$@"
fi
${ENTER}`;

/** Whom a program runs as. */
export type SessionUser = Pick<SessionConfig, "account" | "runAs">;

/** The environment of a login, whatever environment the agent was started in. */
export function userEnvironment({ account, runAs }: SessionUser): Record<string, string> {
  const { name, uid, gid, home, shell } = account;
  // An agent that is that user already could not set its groups, and need not.
  const isOther = runAs !== null && uid !== Deno.uid();
  return {
    ...ENVIRONMENT,
    HOME: home,
    USER: name,
    LOGNAME: name,
    SHELL: shell,
    ...(isOther ? { POSTERN_UID: String(uid), POSTERN_GID: String(gid) } : {}),
  };
}

/** A program that is under way. */
export interface SessionProcess {
  readonly child: Deno.ChildProcess;
  /** Exit code; 128 + n after signal n. */
  readonly exitCode: Promise<number>;
}

/**
 * Starts a script of ours in a session of its own, all three of its streams piped.
 *
 * @param args reach the script as `$1`, `$2`, ...: never put into its text
 * @throws {Error} of the runtime when the shell cannot be started
 */
export function startScript(
  script: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = ENVIRONMENT,
): SessionProcess {
  const child = new Deno.Command(SHELL, {
    args: ["-c", script, NAME, ...args],
    clearEnv: true,
    env: { ...environment },
    cwd: "/",
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  return { child, exitCode: child.status.then(({ code }) => code) };
}

// Members are found by the session id in /proc/PID/stat, "PID (NAME) STATE PPID PGRP SESSION ...": a NAME that looks
// like this can only add its own process. Zombies are gone already, and may wait for long until somebody takes note.
// First the signal that a terminal that is hung up gives; what has not gone then, or ignores it (nohup), is killed.
const END_SESSIONS = `
left() {
  paths=$(grep -lsE -- "\\) [^ZX] [0-9]+ [0-9]+ ($1) " /proc/[0-9]*/stat)
  # Some shells go on where no process is to be had for grep; to have found nothing it must have been there.
  [ "$?" -lt 126 ] || exit 1
  [ -n "$paths" ]
}
tell() {
  for path in $paths; do
    pid=\${path#/proc/}
    kill -s "$1" "\${pid%/stat}" 2>/dev/null
  done
}
left "$1" || exit 0
tell HUP
tell CONT
i=0
while [ "$i" -lt 60 ]; do
  sleep 0.05 2>/dev/null || { sleep 1; i=$((i + 19)); }
  left "$1" || exit 0
  [ "$i" -lt 4 ] || tell KILL
  i=$((i + 1))
done
exit 1
`;

/** Ends sessions where nothing can be started any more; null: nobody is there who could. */
let standby: StandbyEnder | null = null;

/**
 * Has sessions ended also where they hold every process that there may be, until it is disposed of.
 *
 * @throws {Error} of the runtime when no process is to be had
 */
export function keepEnderReady(): AsyncDisposable {
  const ender = standby = StandbyEnder.start();
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      standby = null;
      await ender[Symbol.asyncDispose]();
    },
  };
}

/**
 * Ends every process of these sessions, among them what ignores SIGHUP or went to the background; takes 4 s at most.
 * Never rejects.
 *
 * @param leaders first processes of the sessions
 * @param others process ids of leaders that the runtime did not start
 * @returns whether nothing is left
 */
export async function endSessions(
  leaders: readonly SessionProcess[],
  others: readonly number[] = [],
): Promise<boolean> {
  const sessionIds = [...leaders.map(({ child }) => child.pid), ...others];
  const isGone = await runEnding(sessionIds.join("|")) || (await standby?.end(sessionIds) ?? false);
  for (const { child, exitCode } of leaders) {
    if (isGone) {
      await exitCode;
    } else {
      killOne(child);
    }
  }
  return isGone;
}

async function runEnding(sessionIds: string): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(SHELL, {
      args: ["-c", END_SESSIONS, NAME, sessionIds],
      clearEnv: true,
      env: { ...ENVIRONMENT },
      stdin: "null",
      stdout: "null",
      stderr: "null",
      // It carries on should the agent be stopped meanwhile.
      detached: true,
    }).spawn().status;
    return success;
  } catch {
    // No process is to be had for it.
    return false;
  }
}

function killOne(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended.
  }
}
