/**
 * agent.toml: what may be done on this host and by whom, whatever the server says. It is written whole at join, every
 * key with its default and what it means, so that what is in force can be read without any manual.
 */
import { isName, NAME_FORM } from "../../protocol/manage/names.ts";
import { formatPublicKey, parsePublicKey, PUBLIC_KEY_FORM } from "../../protocol/manage/signing_key.ts";
import {
  TARGET_PATTERN_FORMS,
  type TargetPattern,
  tryParsePattern,
} from "../../protocol/manage/target_pattern.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import { parseTomlBytes, type TomlSource } from "../../system/toml_file.ts";
import type { SessionConfig } from "./sessions/hosted_session.ts";
import { type Account, PASSWD_PATH, sessionAccount } from "./session_account.ts";

/** An administrator whose key this host has pinned. */
export interface TrustedAdmin {
  readonly name: string;
  /** 32 bytes. */
  readonly key: Uint8Array<ArrayBuffer>;
}

/** agent.toml, checked. */
export interface AgentConfig extends SessionConfig {
  /** Of the file. */
  readonly path: string;
  /** Whether shells may be opened. */
  readonly shell: boolean;
  /** Whether programs may be run without one. */
  readonly exec: boolean;
  /** The only commands that may run, as exact argument vectors; empty: any. */
  readonly commands: readonly (readonly string[])[];
  /** Who sessions run as: `runAs`, or the agent's own user. */
  readonly account: Account;
  /** Where forwards may lead. */
  readonly forward: readonly TargetPattern[];
  /** Who may open sessions; empty: whoever the server says. */
  readonly admins: readonly TrustedAdmin[];
  /** At the same time, detached ones included. */
  readonly maxSessions: number;
}

/** What the file is checked against. */
export interface ConfigGround {
  /** Text of /etc/passwd. */
  readonly passwd: string;
  /** The user this process runs as. */
  readonly ownUid: number;
}

const KEYS = [
  "shell",
  "exec",
  "commands",
  "run_as",
  "shell_program",
  "forward",
  "admins",
  "detach_grace",
  "scrollback_kib",
  "max_sessions",
  "record",
] as const;
/** Whatever bounds sessions; all of it stands in the file that join writes. */
const BOUNDS: readonly (typeof KEYS)[number][] = [
  "shell",
  "exec",
  "commands",
  "run_as",
  "shell_program",
  "forward",
  "admins",
  "record",
];

const KIB = 1024;
const DEFAULT_FORWARD = ["localhost:*", "127.0.0.1:*", "[::1]:*"] as const;
const DEFAULT_GRACE = "10m";
const DEFAULT_SCROLLBACK_KIB = 256, MAX_SCROLLBACK_KIB = 65_536;
const DEFAULT_MAX_SESSIONS = 32, MAX_SESSIONS = 512;
const MAX_GRACE_MS = 7 * 86_400_000;
const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The file as join writes it. */
export const DEFAULT_AGENT_TOML =
  `# What may be done on this host, whatever the management server says. The agent reads this file again when it has
# changed; what it no longer allows ends within a second. A file that it cannot read lets nothing new begin.

# Whether administrators may open a shell.
shell = true

# Whether administrators may run a program without one.
exec = true

# The only programs that may run, each as the exact list of its words, the first one an absolute path; for example
#   commands = [["/usr/bin/systemctl", "restart", "nginx"], ["/usr/bin/uptime"]]
# Empty: any. When it is not empty, shell must be false, since a shell can run everything.
commands = []

# The user that shells and programs run as; "" is the user of the agent. Any other needs the agent to run as root.
run_as = ""

# The program of a shell, an absolute path; "" is the login shell of that user.
shell_program = ""

# Where forwards may lead: HOST:PORT with a name, *.SUFFIX, an address, a network such as 10.0.0.0/8, or *; and a port,
# a range such as 8000-8999, or *. Empty: no forwards. Names are compared as text, so a network is never the way to a name.
forward = [${DEFAULT_FORWARD.map((each) => JSON.stringify(each)).join(", ")}]

# Administrators whose keys this host knows, as NAME:KEY; postern commander agent trust NAME writes it. When it is not
# empty, every session that none of them has signed is refused: a server that was broken into can then command nothing.
admins = []

# How long a shell that was left (client shell --detach) waits to be taken up again, with s, m, h or d.
detach_grace = "${DEFAULT_GRACE}"

# How much of its output is kept for that, in KiB.
scrollback_kib = ${DEFAULT_SCROLLBACK_KIB}

# Sessions at the same time, those that wait included.
max_sessions = ${DEFAULT_MAX_SESSIONS}

# Folder for recordings of shells (asciicast, see postern client replay), an absolute path; "" makes none.
record = ""
`;

/**
 * Reads agent.toml.
 *
 * @throws {Failure} naming file, line and key, what was found and what is accepted
 */
export async function readAgentConfig(path: string, ground: ConfigGround): Promise<AgentConfig> {
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(path);
  } catch (error) {
    throw new Failure(`could not read ${path}`, {
      cause: error,
      hint: error instanceof Deno.errors.NotFound
        ? "postern commander agent --join TOKEN writes it, with every default"
        : undefined,
    });
  }
  const source = parseTomlBytes(path, bytes);
  requireBounds(source);
  return parseAgentConfig(source, ground);
}

/**
 * An editor empties a file before it writes it, a full disk leaves it so or cuts off its end, and by the defaults what is
 * not there is allowed, to everybody. So what bounds sessions must be said.
 */
function requireBounds({ path, table }: TomlSource): void {
  const missing = BOUNDS.filter((key) => !Object.hasOwn(table, key));
  if (missing.length === 0) return;
  throw new Failure(
    `could not read ${path}: it does not say ${missing.join(", ")}, accepted is a whole file`,
    {
      hint: "restore it, or remove it and join again: a fresh one has every key",
    },
  );
}

/** The same for a file that was read already; what is not there has its default. */
export function parseAgentConfig(source: TomlSource, ground: ConfigGround): AgentConfig {
  const fields = new TomlFields(source);
  fields.requireKnown(KEYS);
  const commands = readCommands(fields);
  const shell = fields.flag("shell") ?? true;
  if (shell && commands.length > 0) {
    fields.fail(
      "commands",
      "found commands beside shell = true, accepted is shell = false: a shell runs everything",
    );
  }
  const account = readAccount(fields, ground);
  return {
    path: source.path,
    shell,
    exec: fields.flag("exec") ?? true,
    commands,
    account,
    runAs: fields.text("run_as") || null,
    shellProgram: absolute(fields, "shell_program", "of a program"),
    forward: readForward(fields),
    admins: readAdmins(fields),
    detachGraceMs: readGrace(fields),
    scrollbackBytes: KIB *
      (fields.count("scrollback_kib", { min: 0, max: MAX_SCROLLBACK_KIB }) ?? DEFAULT_SCROLLBACK_KIB),
    maxSessions: fields.count("max_sessions", { min: 0, max: MAX_SESSIONS }) ?? DEFAULT_MAX_SESSIONS,
    record: absolute(fields, "record", "of a folder"),
  };
}

function readCommands(fields: TomlFields): string[][] {
  const accepted = 'a list of commands, each a list of its words such as ["/usr/bin/uptime", "-p"]';
  const value = fields.value("commands");
  if (value === undefined) return [];
  if (!Array.isArray(value)) return fields.refuse("commands", accepted);
  return value.map((each: unknown) => {
    if (!isWords(each) || each[0]?.startsWith("/") !== true) {
      return fields.refuseElement("commands", each, `${accepted}, the first one an absolute path`);
    }
    return each;
  });
}

function isWords(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((word) => typeof word === "string" && !word.includes("\0"));
}

function readAccount(fields: TomlFields, { passwd, ownUid }: ConfigGround): Account {
  const runAs = fields.text("run_as", `a name in ${PASSWD_PATH}, or ""`) ?? "";
  const found = sessionAccount(runAs, passwd, ownUid);
  return "problem" in found ? fields.fail("run_as", found.problem) : found;
}

/** An absolute path; null where it is empty or absent. */
function absolute(fields: TomlFields, name: string, what: string): string | null {
  const accepted = `the absolute path ${what} without a comma, or ""`;
  const path = fields.text(name, accepted) ?? "";
  if (path === "") return null;
  // The runtime would take a comma for the end of a permission's path.
  return path.startsWith("/") && !path.includes(",") ? path : fields.refuse(name, accepted);
}

function readForward(fields: TomlFields): TargetPattern[] {
  const texts = fields.texts("forward", `a list of ${TARGET_PATTERN_FORMS}`) ?? DEFAULT_FORWARD;
  return texts.map((text) =>
    tryParsePattern(text) ?? fields.refuseElement("forward", text, TARGET_PATTERN_FORMS)
  );
}

/** `admins` alone, of a file whose other keys may be anything. @throws {Failure} */
export function readAdmins(fields: TomlFields): TrustedAdmin[] {
  const texts = fields.texts("admins", "a list of NAME:KEY") ?? [];
  return texts.map((text) => tryParseAdmin(text) ?? fields.refuseElement("admins", text, ADMIN_FORM));
}

/** The form of an administrator, for messages. */
export const ADMIN_FORM =
  `NAME:KEY as "postern client identity" prints it, with a name of ${NAME_FORM} and a key of ` +
  PUBLIC_KEY_FORM;

/** Reads `NAME:KEY`; null for any other text. */
export function tryParseAdmin(text: string): TrustedAdmin | null {
  const colon = text.indexOf(":");
  const name = text.slice(0, colon);
  if (colon === -1 || !isName(name)) return null;
  try {
    return { name, key: parsePublicKey(text.slice(colon + 1)) };
  } catch {
    return null;
  }
}

/** Writes `NAME:KEY`. */
export function formatAdmin({ name, key }: TrustedAdmin): string {
  return `${name}:${formatPublicKey(key)}`;
}

function readGrace(fields: TomlFields): number {
  const accepted = 'a time such as "90s", "10m", "8h" or "2d", up to "7d"';
  const text = fields.text("detach_grace", accepted) ?? DEFAULT_GRACE;
  const [, digits, unit = ""] = /^([0-9]{1,9})([smhd])$/.exec(text) ?? [];
  const graceMs = Number(digits) * (UNIT_MS[unit] ?? NaN);
  return graceMs <= MAX_GRACE_MS ? graceMs : fields.refuse("detach_grace", accepted);
}

/** Reads what a configuration is checked against. Needs `--allow-read=/etc/passwd` and `--allow-sys=uid`. */
export async function configGround(): Promise<ConfigGround> {
  const ownUid = Deno.uid() ?? 0;
  try {
    return { passwd: await Deno.readTextFile(PASSWD_PATH), ownUid };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { passwd: "", ownUid };
    throw new Failure(`could not read ${PASSWD_PATH}: ${describeError(error)}`, { cause: error });
  }
}
