/** The types of the command table. */

/** A kind of Deno permission, as `Deno.permissions` and the `--allow-*` flags name it. */
export type PermissionKind = "read" | "write" | "net" | "env" | "sys" | "run" | "ffi" | "import";

/** One `--option` of a command. */
export interface OptionSpec {
  /** Long name without the dashes. */
  readonly name: string;
  /** One letter or digit without the dash. */
  readonly short?: string;
  /** `flag` takes no value. `duration` is a number with a unit (`500ms`, `10s`, `2m`, `8h`) and is read as milliseconds. */
  readonly type: "flag" | "text" | "integer" | "duration";
  /** How help names the value. Absent for flags. */
  readonly value?: string;
  /** The only values accepted (`text`). */
  readonly choices?: readonly string[];
  /** Smallest and largest value accepted, inclusive (`integer`; for `duration` in milliseconds). */
  readonly range?: readonly [number, number];
  /** The value used if the option is not given, as it would be typed. */
  readonly default?: string;
  readonly required?: true;
  readonly help: string;
}

/** A word that is no option, such as the SHELL of `postern completions SHELL`. */
export interface OperandSpec {
  /** How help names it. */
  readonly value: string;
  /** The only words accepted. */
  readonly choices?: readonly string[];
  readonly required?: true;
  /** Any number of words more of the same may follow; only of the last one of a command. */
  readonly many?: true;
  /** Of the words behind a bare `--`: they are a command line of this program, as completions have to know. */
  readonly isOwn?: true;
  /** Of words that are typed apart, a hint shows them as one, with dashes between. */
  readonly dashed?: true;
  readonly help: string;
}

/** One example, shown under a command's help. */
export interface ExampleSpec {
  readonly what: string;
  /** The words after `postern`; a line of its own in help. */
  readonly line: string;
  /** Set if the line is no shell's but the ProxyCommand of this host in ~/.ssh/config. */
  readonly sshHost?: string;
}

/** A command: what is typed after `postern`, what it takes and what it needs. */
export interface CommandSpec {
  /** One word for what every role has, such as `permissions`; a third one for a command below a command. */
  readonly path:
    | readonly [group: string, word: string]
    | readonly [group: string, word: string, below: string]
    | readonly [word: string];
  readonly summary: string;
  /** The words after the command in the usage line. */
  readonly usage: string;
  /** Paragraphs of the help page. */
  readonly description: readonly string[];
  readonly options: readonly OptionSpec[];
  /** Words that are no options, in order. Absent: none is accepted. */
  readonly operands?: readonly OperandSpec[];
  /** Set if words may follow a bare `--`; they are another command line and taken as they are. */
  readonly rest?: OperandSpec;
  readonly examples: readonly ExampleSpec[];
  /**
   * The permission kinds the command may use, each with its reason. Every other kind is revoked before any code
   * of the command is loaded.
   */
  readonly needs: Readonly<Partial<Record<PermissionKind, string>>>;
  /** The role whose executable has the command; absent: the one named as the group, or all if it has one word. */
  readonly role?: "setup";
}

/** A first word of the command line: a role, which is a trust zone. */
export interface GroupSpec {
  readonly word: string;
  readonly summary: string;
  readonly description: readonly string[];
  /** The command meant if no second word is given, as in `postern server`. */
  readonly defaultWord?: string;
}

/** A trust zone: what one executable is for, and the set of permissions it runs under. */
export type Role = "client" | "server" | "commander" | "setup";

export const ROLES: readonly Role[] = ["client", "server", "commander", "setup"];

/** The option every command takes besides its own. */
export const HELP_OPTION: OptionSpec = { name: "help", short: "h", type: "flag", help: "show this help" };
