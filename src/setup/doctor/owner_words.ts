/** Owners and modes: judged as the kernel would, and said as `ls -l` and `chmod` do. */
import { folderOf } from "../../system/path.ts";
import type { FileFacts, Machine } from "./machine.ts";

/** One account of /etc/passwd with its groups. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gids: ReadonlySet<number>;
}

/** Bits of one class of users in a mode. */
export const READ = 0o4;
export const WRITE = 0o2;
export const ENTER = 0o1;

const ROOT_UID = 0;
const ACCOUNTS_BYTES = 4 * 1024 * 1024;

/** The accounts that /etc/passwd and /etc/group know. */
export class AccountBook {
  readonly #users: readonly (readonly string[])[];
  readonly #groups: readonly (readonly string[])[];

  constructor(passwd: string, group: string) {
    this.#users = linesOf(passwd);
    this.#groups = linesOf(group);
  }

  static async read(machine: Machine): Promise<AccountBook> {
    const texts = await Promise.all(
      ["/etc/passwd", "/etc/group"].map(async (path) =>
        new TextDecoder().decode(await machine.read(path, ACCOUNTS_BYTES) ?? new Uint8Array())
      ),
    );
    return new AccountBook(texts[0] ?? "", texts[1] ?? "");
  }

  find(user: string | number): Account | null {
    const line = this.#users.find(([name, , uid]) =>
      typeof user === "number" ? Number(uid) === user : name === user
    );
    const [name, , uid, gid] = line ?? [];
    if (name === undefined || uid === undefined) return null;
    const others = this.#groups.filter(([, , , members]) => (members ?? "").split(",").includes(name));
    return { name, uid: Number(uid), gids: new Set([Number(gid), ...others.map(([, , id]) => Number(id))]) };
  }

  findGroup(name: string): number | null {
    const id = this.#groups.find(([each]) => each === name)?.[2];
    return id === undefined ? null : Number(id);
  }

  userName(uid: number): string {
    return this.find(uid)?.name ?? `uid ${uid}`;
  }

  groupName(gid: number): string {
    return this.#groups.find(([, , id]) => Number(id) === gid)?.[0] ?? `gid ${gid}`;
  }

  /** `postern:postern, mode 0640`. */
  describe(facts: FileFacts): string {
    return `${this.userName(facts.uid)}:${this.groupName(facts.gid)}, mode ${formatMode(facts.mode)}`;
  }
}

export function formatMode(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

/** Whether the kernel lets the account do all that `wanted` asks for; access lists are not looked at. */
export function mayUse(account: Account, facts: FileFacts, wanted: number): boolean {
  if (account.uid === ROOT_UID) return true;
  const shift = account.uid === facts.uid ? 6 : account.gids.has(facts.gid) ? 3 : 0;
  return (facts.mode >> shift & wanted) === wanted;
}

/** The first folder on the way to `path` that the account may not enter; null if it gets there. */
export async function barrierFor(machine: Machine, account: Account, path: string): Promise<string | null> {
  const folders: string[] = [];
  for (let folder = folderOf(path);; folder = folderOf(folder)) {
    folders.unshift(folder);
    if (folder === "/" || folder === ".") break;
  }
  for (const folder of folders) {
    const facts = await machine.stat(folder);
    if (facts !== null && !mayUse(account, facts, ENTER)) return folder;
  }
  return null;
}

function linesOf(text: string): (readonly string[])[] {
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).map((line) =>
    line.split(":")
  );
}
