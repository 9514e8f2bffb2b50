/**
 * The host's last word: whether agent.toml allows what somebody asks for. Pure; whose the open is and whether it is
 * fresh is looked at before, in session_desk.ts.
 *
 * Every answer is null for yes, or the refusal without the side that refuses: "exec not allowed by its agent.toml".
 * `refusalOf` puts the host's name in front.
 */
import type { Action } from "../../protocol/manage/control_contract.ts";
import { isSameBytes } from "../../protocol/manage/signing_key.ts";
import {
  covers,
  matchesTarget,
  type TargetPattern,
  tryParsePattern,
} from "../../protocol/manage/target_pattern.ts";
import type { AgentConfig } from "./agent_config.ts";

/** What an open asks for. */
export interface AskedOpen {
  readonly action: Action;
  /** Declared targets of a forward. */
  readonly targets: readonly string[];
  /** 32 bytes; its signature was checked. */
  readonly adminKey: Uint8Array;
}

/** A refusal as the administrator reads it. */
export function refusalOf(hostName: string, refusal: string): string {
  return `${hostName} refuses: ${refusal}`;
}

/** Whether a session may be, one that is asked for or one that runs. */
export function mayOpen(config: AgentConfig, { action, targets, adminKey }: AskedOpen): string | null {
  if (config.admins.length > 0 && !config.admins.some(({ key }) => isSameBytes(key, adminKey))) {
    return "this administrator's key is not in admins of its agent.toml";
  }
  switch (action) {
    case "shell":
      return config.shell ? null : "shell not allowed by its agent.toml";
    case "exec":
      return config.exec ? null : "exec not allowed by its agent.toml";
    case "forward":
      return mayForward(config, targets);
    default:
      return "an action that it does not know";
  }
}

/**
 * One declared target that can be allowed is enough: `--socks` declares `*:*`, and each connection is looked at by
 * itself.
 */
function mayForward({ forward }: AgentConfig, targets: readonly string[]): string | null {
  if (forward.length === 0) return "forward not allowed by its agent.toml";
  const declared = targets.map(tryParsePattern).filter((each) => each !== null);
  if (declared.length === 0 || declared.length !== targets.length) return "a target that is none";
  const isAllowed = declared.some((target) => forward.some((allowed) => overlap(allowed, target)));
  return isAllowed ? null : `forward to ${targets.join(", ")} not allowed by its agent.toml`;
}

/** Whether there is a host and a port that both take; of two patterns of hosts that overlap one holds the other. */
function overlap(a: TargetPattern, b: TargetPattern): boolean {
  const first = Math.max(a.firstPort, b.firstPort), last = Math.min(a.lastPort, b.lastPort);
  if (first > last) return false;
  const [one, other] = [a, b].map(({ host }) => ({ host, firstPort: first, lastPort: first }));
  return one !== undefined && other !== undefined && (covers([one], other) || covers([other], one));
}

/** Whether a program may run, with exactly these words. */
export function mayRun({ commands }: AgentConfig, command: readonly string[]): string | null {
  if (commands.length === 0 || commands.some((allowed) => isSameCommand(allowed, command))) return null;
  return "this command is not among the commands of its agent.toml";
}

function isSameCommand(allowed: readonly string[], command: readonly string[]): boolean {
  return allowed.length === command.length && allowed.every((word, at) => word === command[at]);
}

/**
 * Whether one connection of a forward may be made: within what was declared and signed, and within agent.toml.
 *
 * @param targets declared in the open
 * @param host a name, or an address without brackets
 */
export function mayConnect(
  { forward }: AgentConfig,
  targets: readonly string[],
  host: string,
  port: number,
): string | null {
  const declared: TargetPattern[] = targets.map(tryParsePattern).filter((each) => each !== null);
  if (!matchesTarget(declared, host, port)) return "this target was not declared when the session was opened";
  return matchesTarget(forward, host, port) ? null : "forward to this target not allowed by its agent.toml";
}

/**
 * Whether a session that runs may go on when agent.toml has changed. What it does inside is not known here, so it must
 * end where anything that it could be doing is not allowed any more.
 *
 * @param began what was in force when it began
 */
export function mayGoOn(began: AgentConfig, now: AgentConfig, asked: AskedOpen): string | null {
  const refusal = mayOpen(now, asked);
  if (refusal !== null) return refusal;
  switch (asked.action) {
    case "forward":
      return began.forward.every((target) => covers(now.forward, target))
        ? null
        : "some of its forwards are not allowed any more by its agent.toml";
    case "exec":
      if (!keepsCommands(began, now)) {
        return "some of its commands are not allowed any more by its agent.toml";
      }
      break;
    case "shell":
  }
  return began.account.uid === now.account.uid ? null : "its agent.toml names another user for sessions";
}

function keepsCommands(began: AgentConfig, now: AgentConfig): boolean {
  if (now.commands.length === 0) return true;
  return began.commands.length > 0 && began.commands.every((command) => mayRun(now, command) === null);
}
