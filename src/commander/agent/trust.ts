/** `commander agent trust`: pins an administrator's key in agent.toml, whose other lines stay as they are. */
import { parse } from "smol-toml";
import { isName, NAME_FORM } from "../../protocol/manage/names.ts";
import { fingerprint, isSameBytes } from "../../protocol/manage/signing_key.ts";
import { PRIVATE_MODE, writeFileDurably } from "../../system/durable_file.ts";
import { Failure, UsageFailure } from "../../system/failure.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import { parseTomlSource, readTomlFile, type TomlSource } from "../../system/toml_file.ts";
import { ADMIN_FORM, formatAdmin, readAdmins, type TrustedAdmin, tryParseAdmin } from "./agent_config.ts";
import type { AgentFolder } from "./agent_folder.ts";

const PERMISSION_BITS = 0o777;
const NAME_AND_KEY = "give NAME:KEY, as the administrator's postern client identity prints it";

/** What came of it. */
export interface Trusted {
  readonly admin: TrustedAdmin;
  /** Of the key, for people. */
  readonly fingerprint: string;
  /** Whether it stood in agent.toml already. */
  readonly wasTrusted: boolean;
  /** Fingerprint of another key that was pinned under this name and is not any more; null: there was none. */
  readonly replaced: string | null;
}

/**
 * Writes an administrator into `admins` of agent.toml; a key that stood there under the same name is replaced, where the
 * new one was given and not only seen: by which name somebody was here is what the server says.
 *
 * @param operand `NAME:KEY`, or the name of somebody who was here
 * @throws {Failure} if nobody of that name was here, another key is pinned under it, or agent.toml cannot be read or
 * written
 */
export async function trustAdministrator(folder: AgentFolder, operand: string): Promise<Trusted> {
  const admin = await named(folder, operand);
  const source = await readTomlFile(folder.configPath), admins = readAdmins(new TomlFields(source));
  const before = admins.filter(({ name }) => name === admin.name);
  const isTrusted = before.length === 1 && before.every(({ key }) => isSameBytes(key, admin.key));
  const other = before.find(({ key }) => !isSameBytes(key, admin.key));
  if (other !== undefined && admin.name === operand) {
    throw new Failure(
      `cannot trust "${operand}" by name alone: the key last seen is ${fingerprint(admin.key)}, ` +
        `agent.toml pins ${fingerprint(other.key)}`,
      { hint: NAME_AND_KEY },
    );
  }
  if (!isTrusted) await write(source, [...admins.filter(({ name }) => name !== admin.name), admin]);
  return {
    admin,
    fingerprint: fingerprint(admin.key),
    wasTrusted: isTrusted,
    replaced: other === undefined ? null : fingerprint(other.key),
  };
}

async function named(folder: AgentFolder, operand: string): Promise<TrustedAdmin> {
  if (operand.includes(":")) {
    const admin = tryParseAdmin(operand);
    if (admin !== null) return admin;
    throw new UsageFailure(`cannot trust this administrator: accepted is ${ADMIN_FORM}`);
  }
  if (!isName(operand)) throw new UsageFailure(`cannot trust this administrator: a name wants ${NAME_FORM}`);
  const seen = await folder.readAdministrators();
  const found = seen.find(({ name }) => name === operand);
  if (found !== undefined) return found;
  const names = seen.map(({ name }) => name).join(", ") || "nobody";
  throw new Failure(`cannot trust "${operand}": no administrator of that name was here, but ${names}`, {
    hint: NAME_AND_KEY,
  });
}

async function write(source: TomlSource, admins: readonly TrustedAdmin[]): Promise<void> {
  const { path } = source, text = withAdmins(source, admins);
  // What reads otherwise than it was meant would lock everybody out, or let somebody in.
  const written = readAdmins(new TomlFields(parseTomlSource(path, text))).map(formatAdmin);
  if (written.join() !== admins.map(formatAdmin).join()) {
    throw new Failure(`could not change admins in ${path}: its lines are not understood`, {
      hint: `write it yourself: admins = ${JSON.stringify(admins.map(formatAdmin))}`,
    });
  }
  const { uid, gid, mode } = await Deno.stat(path);
  await writeFileDurably(path, new TextEncoder().encode(text), {
    mode: (mode ?? PRIVATE_MODE) & PERMISSION_BITS,
  });
  const { uid: newUid } = await Deno.stat(path);
  // Written by root for an agent that runs as another user.
  if (uid !== null && gid !== null && uid !== newUid) await Deno.chown(path, uid, gid);
}

/** The text of agent.toml with other administrators. */
export function withAdmins(source: TomlSource, admins: readonly TrustedAdmin[]): string {
  const list = admins.map((admin) => `  ${JSON.stringify(formatAdmin(admin))},\n`).join("");
  const entry = list === "" ? "admins = []" : `admins = [\n${list}]`;
  const line = source.lineOf(["admins"]);
  if (line === undefined) return `${source.text.replace(/\n?$/, "\n")}${entry}\n`;
  const lines = source.text.split("\n");
  const count = entryLines(lines.slice(line - 1));
  return [...lines.slice(0, line - 1), entry, ...lines.slice(line - 1 + count)].join("\n");
}

/** How many lines the entry takes that begins with the first one: as few as are TOML by themselves. */
function entryLines(lines: readonly string[]): number {
  for (let count = 1; count < lines.length; count++) {
    try {
      parse(lines.slice(0, count).join("\n"));
      return count;
    } catch {
      // The list goes on in the next line.
    }
  }
  return lines.length;
}
