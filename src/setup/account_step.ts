/** The user and group that the server runs as. */
import { SERVICE_USER, SYSUSERS_PATH } from "./layout.ts";
import type { Machine } from "./machine.ts";
import type { Manifest } from "./manifest.ts";
import { GROUPADD, GROUPDEL, SYSUSERS, USERDEL } from "./programs.ts";
import type { Step } from "./steps.ts";
import { nameOf } from "../system/path.ts";
import { succeeded, type Undertaking } from "./undertaking.ts";

export function accountStep(work: Undertaking): Step {
  async function isThere(): Promise<boolean> {
    const { users, groups } = await work.accounts();
    return users.has(SERVICE_USER) && groups.has(SERVICE_USER);
  }
  return {
    name: "user",
    why: "the server has no right on this machine but its own",
    plan: async () => await isThere() ? [] : [`create user and group ${SERVICE_USER} (system, no login)`],
    async apply(): Promise<void> {
      const { users, groups } = await work.accounts();
      const [user, group] = [!users.has(SERVICE_USER), !groups.has(SERVICE_USER)];
      await work.rewrite((manifest) => ({
        ...manifest,
        account: { user: manifest.account.user || user, group: manifest.account.group || group },
      }));
      await work.run(
        `user ${SERVICE_USER}`,
        SYSUSERS,
        [...(work.root === "/" ? [] : [`--root=${work.root}`]), nameOf(SYSUSERS_PATH)],
        () => removeAccount(work, { user, group }),
      );
    },
  };
}

/** Removes what setup made of user and group; either may be gone. */
export async function removeAccount(work: Undertaking, made: Manifest["account"]): Promise<void> {
  const prefix = work.root === "/" ? [] : ["--prefix", work.root];
  const { machine } = work;
  const before = await work.accounts();
  if (made.user && before.users.has(SERVICE_USER)) {
    await must(machine, USERDEL, [...prefix, SERVICE_USER]);
    // Where login.defs says so the group goes with its user, also one that was there before it.
    const gid = before.groups.get(SERVICE_USER);
    if (!made.group && gid !== undefined && !(await work.accounts()).groups.has(SERVICE_USER)) {
      await must(machine, GROUPADD, [...prefix, "--gid", String(gid), SERVICE_USER]);
    }
  }
  if (made.group && (await work.accounts()).groups.has(SERVICE_USER)) {
    await must(machine, GROUPDEL, [...prefix, SERVICE_USER]);
  }
}

async function must(machine: Machine, program: string, args: readonly string[]): Promise<void> {
  succeeded(program, args, await machine.run(program, args));
}
