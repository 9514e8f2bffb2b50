/**
 * The command table: every command, option, default, help text and example of `postern`, as data.
 *
 * Parsing, help, completions and manual pages all read this one table, so they cannot disagree. It lies on the
 * path of every `client send`: plain literals only, nothing computed at load time.
 */
import { type CommandSpec, type GroupSpec, type Role, ROLES } from "./command_spec.ts";
import { KNOCK_COMMANDS } from "./knock_commands.ts";
import { MANAGE_COMMANDS } from "./manage_commands.ts";
import { RELAY_COMMANDS } from "./relay_commands.ts";
import { SHIP_COMMANDS } from "./ship_commands.ts";
import { TRANSFER_COMMANDS } from "./transfer_commands.ts";

export * from "./command_spec.ts";

export const GROUPS: readonly GroupSpec[] = [
  {
    word: "client",
    summary: "what runs on your machine: make keys, knock, connect, share files, reach managed hosts",
    description: [
      "The client opens connections. It runs no program, and listens for nobody but you, to forward ports.",
    ],
  },
  {
    word: "server",
    summary: "what faces the internet: takes knocks and never answers, relays transfers, keeps managed hosts",
    description: [
      "The server is unprivileged: it receives, checks and forwards knocks to the commander, and can run nothing itself. " +
      "As a relay it is a process of its own, which only staples connections together; so it is as a management server, " +
      "which joins administrators to hosts that only dial out, and can neither read nor command.",
    ],
    defaultWord: "knock",
  },
  {
    word: "commander",
    summary:
      "what runs things on a host: the configured commands of knocks, or as an agent what administrators do",
    description: [
      "The commander owns a local socket, knows the list of commands and runs them. It never sees a packet. As an agent it " +
      "is a process of its own, which dials its management server and listens nowhere.",
    ],
    defaultWord: "knock",
  },
];

export const COMMANDS: readonly CommandSpec[] = [
  ...KNOCK_COMMANDS,
  ...TRANSFER_COMMANDS,
  ...RELAY_COMMANDS,
  ...MANAGE_COMMANDS,
  ...SHIP_COMMANDS,
];

/** Finds a group by its word. */
export function findGroup(word: string | undefined): GroupSpec | undefined {
  return GROUPS.find((group) => group.word === word);
}

/** Finds a command by its words: one, two, or three for one below another. */
export function findCommand(first: string, second?: string, third?: string): CommandSpec | undefined {
  return COMMANDS.find(({ path }) => path[0] === first && path[1] === second && path[2] === third);
}

/** The role whose executable has a command; null if every one has it. */
export function roleOf({ path, role }: CommandSpec): Role | null {
  if (role !== undefined) return role;
  return path.length === 1 ? null : ROLES.find((each) => each === path[0]) ?? null;
}
