/** `server manage revoke`: shuts somebody out, or takes an invitation back. A running server acts on it within a second. */
import { type Clock, systemClock } from "../../system/clock.ts";
import { Failure } from "../../system/failure.ts";
import { didYouMean } from "../../system/suggest.ts";
import { openDataFolder } from "./data_folder.ts";
import { quoteName } from "./members.ts";
import { type MemberRole, Registry } from "./registry.ts";

/** What is taken from a name. */
export type Revocable = MemberRole | "invite";

const IN_WORDS: Readonly<Record<Revocable, string>> = {
  host: "host",
  administrator: "administrator",
  invite: "unused invitation",
};

/**
 * Shuts out, or takes back.
 *
 * @throws {Failure} if there is nobody of this name, with the nearest one
 */
export async function revoke(
  path: string,
  kind: Revocable,
  name: string,
  { clock = systemClock }: { clock?: Clock } = {},
): Promise<void> {
  const folder = await openDataFolder(path);
  using registry = await Registry.open(folder, { clock });
  const isDone = kind === "invite" ? registry.revokeInvite(name) > 0 : registry.revoke(kind, name);
  if (isDone) return;
  throw new Failure(
    `cannot revoke ${quoteName(name)}: there is no ${IN_WORDS[kind]} of this name${
      didYouMean(name, namesOf(registry, kind))
    }`,
    { hint: `postern server manage list --dir ${folder.path} shows them` },
  );
}

function namesOf(registry: Registry, kind: Revocable): string[] {
  if (kind === "invite") return registry.invites().filter(({ used }) => !used).map(({ name }) => name);
  return (kind === "host" ? registry.hosts() : registry.admins()).map(({ name }) => name);
}
