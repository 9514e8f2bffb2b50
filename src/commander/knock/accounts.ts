/** Users and groups of /etc/passwd and /etc/group: the runtime has no other way to look a name up. */

const PASSWD = "/etc/passwd";
const GROUP = "/etc/group";

/** The accounts of this machine by name, and the home folder by uid. */
export interface Accounts {
  readonly users: ReadonlyMap<string, number>;
  readonly groups: ReadonlyMap<string, number>;
  readonly homes: ReadonlyMap<number, string>;
}

/** Files that `readAccounts` needs read permission for. */
export const ACCOUNT_FILES: readonly string[] = [PASSWD, GROUP];

export async function readAccounts(): Promise<Accounts> {
  return parseAccounts(await readOrEmpty(PASSWD), await readOrEmpty(GROUP));
}

/** Parses passwd(5) and group(5); lines that are not of their form are skipped, as the C library does. */
export function parseAccounts(passwd: string, group: string): Accounts {
  const users = new Map<string, number>();
  const groups = new Map<string, number>();
  const homes = new Map<number, string>();
  for (const line of passwd.split("\n")) {
    const [name, , uid, , , home] = line.split(":");
    if (name === undefined || uid === undefined || !/^[0-9]+$/.test(uid) || users.has(name)) continue;
    users.set(name, Number(uid));
    if (home !== undefined && home.startsWith("/") && !homes.has(Number(uid))) homes.set(Number(uid), home);
  }
  for (const line of group.split("\n")) {
    const [name, , gid] = line.split(":");
    if (name === undefined || gid === undefined || !/^[0-9]+$/.test(gid) || groups.has(name)) continue;
    groups.set(name, Number(gid));
  }
  return { users, groups, homes };
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
