/** What is known of the service's user and group before anything is done. */
import { parseAccounts } from "../commander/knock/accounts.ts";
import { Failure } from "../system/failure.ts";
import { SERVICE_USER, withRoot } from "./layout.ts";
import type { MachineLooks } from "./machine.ts";

export interface AccountFindings {
  /** Of the user; null: there is none yet. */
  readonly uid: number | null;
  readonly notes: readonly string[];
}

const NO_LOGIN = /\/(nologin|false)$/;
const decoder = new TextDecoder();

/** @throws {Failure} if there is an account of that name which no service should run as */
export async function examineAccount(machine: MachineLooks, root: string): Promise<AccountFindings> {
  const [passwd, group] = await Promise.all(["/etc/passwd", "/etc/group"].map(async (path) => {
    const bytes = await machine.read(withRoot(root, path));
    return bytes === null ? "" : decoder.decode(bytes);
  }));
  const { users, groups } = parseAccounts(passwd ?? "", group ?? "");
  const uid = users.get(SERVICE_USER) ?? null;
  const gid = groups.get(SERVICE_USER);
  if (uid === 0 || gid === 0) {
    const what = uid === 0 ? "user" : "group";
    throw new Failure(
      `cannot set up a server: found ${what} ${SERVICE_USER} with the number of root, accepted is another number`,
      { hint: `remove it from /etc/${uid === 0 ? "passwd" : "group"}, and this makes a right one` },
    );
  }
  return { uid, notes: notes(passwd ?? "", group ?? "") };
}

/** An account that was there before may be more than a service's. */
function notes(passwd: string, group: string): string[] {
  const found: string[] = [];
  const shell = fieldsOf(passwd, SERVICE_USER)?.[6]?.trim();
  if (shell !== undefined && !NO_LOGIN.test(shell)) {
    found.push(`user ${SERVICE_USER} was there before and may log in (shell ${shell || "/bin/sh"})`);
  }
  const members = fieldsOf(group, SERVICE_USER)?.[3]?.trim() ?? "";
  const others = members.split(",").filter((name) => name !== "" && name !== SERVICE_USER);
  if (others.length > 0) {
    found.push(`in group ${SERVICE_USER}, whose members read every key: ${others.join(", ")}`);
  }
  const further = group.split("\n").map((line) => line.split(":")).filter(([name, , , list = ""]) =>
    name !== SERVICE_USER && list.trim().split(",").includes(SERVICE_USER)
  );
  if (further.length > 0) {
    found.push(
      `user ${SERVICE_USER} is in ${
        further.map(([name]) => `group ${name}`).join(", ")
      }, and so is the server`,
    );
  }
  return found;
}

function fieldsOf(text: string, name: string): string[] | undefined {
  return text.split("\n").find((line) => line.startsWith(`${name}:`))?.split(":");
}
