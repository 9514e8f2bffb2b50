/** The user that sessions run as, out of /etc/passwd: the runtime has no other way to look one up. */

/** The file, for permissions. */
export const PASSWD_PATH = "/etc/passwd";

const ROOT_UID = 0;
/** Where a line of passwd(5) names no shell. */
const DEFAULT_SHELL = "/bin/sh";

/** One user of this machine. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Home folder; "/" where none is named. */
  readonly home: string;
  /** Login shell; /bin/sh where none is named. */
  readonly shell: string;
}

/**
 * Finds who sessions run as.
 *
 * @param runAs a name, or "" for the user that this process runs as
 * @param passwd text of /etc/passwd
 * @returns the problem, if there is no such user or this process may not become one: only root may
 */
export function sessionAccount(
  runAs: string,
  passwd: string,
  ownUid: number,
): Account | { readonly problem: string } {
  const accounts = parsePasswd(passwd);
  if (runAs === "") {
    // A process may run as a uid that no line is for, as in some containers.
    return accounts.find(({ uid }) => uid === ownUid) ??
      { name: String(ownUid), uid: ownUid, gid: ownUid, home: "/", shell: DEFAULT_SHELL };
  }
  const account = accounts.find(({ name }) => name === runAs);
  if (account === undefined) {
    return { problem: `found no user "${runAs}" in ${PASSWD_PATH}, accepted is one of its names, or ""` };
  }
  if (account.uid !== ownUid && ownUid !== ROOT_UID) {
    return {
      problem:
        `found another user than the agent's own (uid ${ownUid}), which only an agent that runs as root may ` +
        'start sessions as; accepted is "", or run the agent as root',
    };
  }
  return account;
}

/** Reads passwd(5); lines that are not of its form are skipped, as the C library does. */
function parsePasswd(text: string): Account[] {
  const accounts: Account[] = [];
  for (const line of text.split("\n")) {
    const [name = "", , uid = "", gid = "", , home = "", shell = ""] = line.split(":");
    if (name === "" || !/^[0-9]{1,10}$/.test(uid) || !/^[0-9]{1,10}$/.test(gid)) continue;
    accounts.push({
      name,
      uid: Number(uid),
      gid: Number(gid),
      home: home.startsWith("/") ? home : "/",
      shell: shell.startsWith("/") ? shell : DEFAULT_SHELL,
    });
  }
  return accounts;
}
