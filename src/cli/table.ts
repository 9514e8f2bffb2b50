/**
 * The command table: every command, option, default, help text and example of `postern`, as data.
 *
 * Parsing, help, completions and manual pages all read this one table, so they cannot disagree. It lies on the
 * path of every `client send`: plain literals only, nothing computed at load time.
 */
import { type CommandSpec, type GroupSpec, type Role, ROLES } from "./command_spec.ts";
import { KNOCK_COMMANDS } from "./knock_commands.ts";
import { RELAY_COMMANDS } from "./relay_commands.ts";
import { SHIP_COMMANDS } from "./ship_commands.ts";
import { TRANSFER_COMMANDS } from "./transfer_commands.ts";

export * from "./command_spec.ts";

export const GROUPS: readonly GroupSpec[] = [
  {
    word: "client",
    summary: "what runs on your machine: make keys, knock, connect, share files",
    description: ["The client opens connections and never listens or runs programs."],
  },
  {
    word: "server",
    summary: "what faces the internet: takes knocks and never answers, or relays transfers",
    description: [
      "The server is unprivileged: it receives, checks and forwards knocks to the commander, and can run nothing itself. " +
      "As a relay it is a process of its own, which only staples connections together.",
    ],
    defaultWord: "knock",
  },
  {
    word: "commander",
    summary: "what runs the configured commands, on the same host, without a network",
    description: [
      "The commander owns a local socket, knows the list of commands and runs them. It never sees a packet.",
    ],
    defaultWord: "knock",
  },
];

export const COMMANDS: readonly CommandSpec[] = [
  ...KNOCK_COMMANDS,
  ...TRANSFER_COMMANDS,
  ...RELAY_COMMANDS,
  ...SHIP_COMMANDS,
];

/** Finds a group by its word. */
export function findGroup(word: string | undefined): GroupSpec | undefined {
  return GROUPS.find((group) => group.word === word);
}

/** Finds a command by its two words, or by its one. */
export function findCommand(first: string, second?: string): CommandSpec | undefined {
  return COMMANDS.find(({ path }) => path[0] === first && path[1] === second);
}

/** The role whose executable has a command; null if every one has it. */
export function roleOf({ path, role }: CommandSpec): Role | null {
  if (role !== undefined) return role;
  return path.length === 1 ? null : ROLES.find((each) => each === path[0]) ?? null;
}
