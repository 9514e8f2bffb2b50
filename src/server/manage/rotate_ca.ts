/**
 * Changing the certificate authority without cutting off a host:
 *
 *   begin    a new authority beside the old one; the server hands both to everybody over links that are proven by the
 *            old one, generation + 1
 *   finish   everybody has stored both: a certificate of the new authority takes the place of the old one, and the new one
 *            alone is handed out, generation + 2
 *
 * Each step is one row of the registry, with its row of the audit; the files are there before it and get their names after
 * it, see `settleFiles`. Cut short before the row, nothing has changed.
 */
import { Failure } from "../../system/failure.ts";
import { acquireLock } from "../../system/lock.ts";
import { issueServerCertificate, makeAuthority } from "./certificates.ts";
import type { DataFolder } from "./data_folder.ts";
import { LOCK_TIMEOUT_MS, writeIssued } from "./init.ts";
import type { Registry } from "./registry.ts";
import { certificateHash, nextAuthority, readText, settleFiles } from "./server_identity.ts";

/** What stands in the way of finishing. */
export interface Waiting {
  /** Hosts and administrators that have not stored the new authority. */
  readonly members: readonly string[];
  /** Tokens that nobody has used yet: they carry the old authority. */
  readonly tokens: readonly string[];
}

/** Whether a change runs. */
export function isRotating(registry: Registry): boolean {
  return (registry.meta.text("next_ca") ?? "") !== "";
}

/**
 * Makes the next authority.
 *
 * @throws {Failure} if a change runs already
 */
export async function beginRotation(folder: DataFolder, registry: Registry): Promise<void> {
  using _lock = await acquireLock(folder.lock, { timeoutMs: LOCK_TIMEOUT_MS });
  await settleFiles(folder, registry);
  if (isRotating(registry)) {
    throw new Failure("cannot begin to change the authority: a change is running", {
      hint: "postern server manage list shows who has not got the new one yet",
    });
  }
  const authority = await makeAuthority();
  await writeIssued(folder, "nextCa", authority);
  const hash = await certificateHash(authority.certificate, folder.nextCaCertificate);
  registry.batch(() => {
    const generation = registry.pinsGeneration() + 1;
    registry.meta.set("next_ca", hash);
    registry.meta.set("pins_generation", generation);
    registry.audit.append("ca_rotated", { step: "begun", ca: hash, generation });
  });
}

/** Who and what stands in the way of finishing. */
export function waitingFor(registry: Registry): Waiting {
  return {
    members: registry.withoutPins().map(({ role, name }) =>
      `${role === "host" ? "host" : "administrator"} ${name}`
    ),
    tokens: registry.invites().filter(({ used }) => !used).map(({ role, name }) => `${role} ${name}`),
  };
}

/**
 * Takes the new authority into use, if nothing stands in the way or it is to be done all the same; tokens that carry the
 * old one are then taken back.
 *
 * @returns false if something stands in the way
 * @throws {Failure} if no change runs
 */
export async function finishRotation(
  folder: DataFolder,
  registry: Registry,
  { evenWithout }: { readonly evenWithout: boolean },
): Promise<boolean> {
  using _lock = await acquireLock(folder.lock, { timeoutMs: LOCK_TIMEOUT_MS });
  await settleFiles(folder, registry);
  const certificate = await nextAuthority(folder, registry);
  if (certificate === null) throw new Failure("cannot finish the change of the authority: none is running");
  if (!evenWithout && isSomethingWaiting(registry)) return false;
  const key = await readText(folder.nextCaKey);
  await writeIssued(folder, "nextTls", await issueServerCertificate({ certificate, key }));
  const isDone = registry.batch(() => {
    // Asked again under the write lock: somebody may have been invited, or have joined, meanwhile.
    if (!evenWithout && isSomethingWaiting(registry)) return false;
    const { members, tokens } = waitingFor(registry);
    const ca = registry.meta.text("next_ca") ?? "";
    const generation = registry.pinsGeneration() + 1;
    registry.meta.set("ca", ca);
    registry.meta.set("next_ca", "");
    registry.meta.set("pins_generation", generation);
    for (const { name } of registry.invites().filter(({ used }) => !used)) registry.revokeInvite(name);
    registry.audit.append("ca_rotated", { step: "finished", ca, generation, without: members, tokens });
    return true;
  });
  if (isDone) await settleFiles(folder, registry);
  return isDone;
}

function isSomethingWaiting(registry: Registry): boolean {
  const { members, tokens } = waitingFor(registry);
  return members.length > 0 || tokens.length > 0;
}
