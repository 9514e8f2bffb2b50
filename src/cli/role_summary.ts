/** What each role's executable is for. Loaded only for help, completions and manual pages. */
import type { Role } from "./command_spec.ts";
import { findGroup } from "./table.ts";

export interface RoleSummary {
  readonly summary: string;
  readonly description: readonly string[];
  /** Set if the executable does something useful without a command. */
  readonly defaultWord?: string | undefined;
}

const SETUP: RoleSummary = {
  summary: "installs, examines and updates: client, server and commander of this machine",
  description: [
    "Setup is the one role that runs programs of the system; most of it is meant for root. None of it runs while " +
    "knocks are taken.",
  ],
};

export function roleSummary(role: Role): RoleSummary {
  const group = role === "setup" ? SETUP : findGroup(role);
  if (group === undefined) throw new TypeError(`role "${role}" has no group`);
  return group;
}
