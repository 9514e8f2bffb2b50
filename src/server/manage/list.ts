/** `server manage list`: what the registry knows, also while no server runs. */
import { fingerprint } from "../../protocol/manage/signing_key.ts";
import { type Clock, systemClock } from "../../system/clock.ts";
import { openDataFolder } from "./data_folder.ts";
import { type Invite, type Member, Registry } from "./registry.ts";
import { isRotating } from "./rotate_ca.ts";

/** One host or administrator, as it is shown. */
export interface ListedMember {
  readonly name: string;
  /** `SHA256:` and 43 characters. */
  readonly key: string;
  readonly tags: readonly string[];
  readonly joined: string;
  /** Of hosts: "online", "offline", or "never" before the first link. */
  readonly state: "online" | "offline" | "never";
  /** Since when; null: it never was online. */
  readonly since: string | null;
  readonly version: string | null;
  readonly system: string | null;
  /** Whether it has stored the newest authorities. */
  readonly hasNewestAuthorities: boolean;
}

/** One invitation, as it is shown. */
export interface ListedInvite {
  readonly role: "host" | "administrator";
  readonly name: string;
  readonly tags: readonly string[] | null;
  readonly replaces: boolean;
  readonly used: boolean;
  readonly expires: string;
}

/** Everything. */
export interface Listing {
  readonly hosts: readonly ListedMember[];
  readonly administrators: readonly ListedMember[];
  readonly invitations: readonly ListedInvite[];
  /** A new authority is being handed out. */
  readonly rotating: boolean;
}

/** Reads the registry of a folder. */
export async function listing(
  path: string,
  { clock = systemClock }: { clock?: Clock } = {},
): Promise<Listing> {
  const folder = await openDataFolder(path);
  using registry = await Registry.open(folder, { clock });
  const generation = registry.pinsGeneration();
  const listed = (member: Member): ListedMember => listedMember(member, generation);
  return {
    hosts: registry.hosts().map(listed),
    administrators: registry.admins().map(listed),
    invitations: registry.invites().map(listedInvite),
    rotating: isRotating(registry),
  };
}

/** The listing as lines for people. */
export function listingLines({ hosts, administrators, invitations, rotating }: Listing): string[] {
  const lines = [
    ...section("hosts", ["NAME", "STATE", "SINCE", "TAGS", "VERSION", "SYSTEM", "KEY"], hosts.map(hostCells)),
    "",
    ...section("administrators", ["NAME", "JOINED", "KEY"], administrators.map(adminCells)),
    "",
    ...section("invitations", ["KIND", "NAME", "EXPIRES", "TAGS", ""], invitations.map(inviteCells)),
  ];
  if (!rotating) return lines;
  // As rotate-ca counts them: a token that nobody has used carries the old one.
  const missing = [
    ...[...hosts, ...administrators].filter(({ hasNewestAuthorities }) => !hasNewestAuthorities)
      .map(({ name }) => name),
    ...invitations.filter(({ used }) => !used).map(({ name }) => `the unused token for ${name}`),
  ];
  const who = missing.length === 0 ? "everybody has it" : `not yet stored by ${missing.join(", ")}`;
  return [...lines, "", `the certificate authority is being changed: ${who}`];
}

function section(title: string, heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [`no ${title}`];
  const table = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...table.map((row) => (row[column] ?? "").length)));
  return [
    `${title}:`,
    ...table.map((row) =>
      `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd()
    ),
  ];
}

function hostCells(host: ListedMember): string[] {
  const { name, state, since, tags, version, system, key } = host;
  return [name, state, since ?? "-", tags.join(",") || "-", version ?? "-", system ?? "-", key];
}

function adminCells({ name, joined, key }: ListedMember): string[] {
  return [name, joined, key];
}

function inviteCells({ role, name, expires, tags, replaces, used }: ListedInvite): string[] {
  const remarks = [...(replaces ? ["takes the place of the present one"] : []), ...(used ? ["used"] : [])];
  return [role, name, expires, tags === null ? "as before" : tags.join(",") || "-", remarks.join(", ")];
}

function listedMember(member: Member, generation: number): ListedMember {
  const { name, key, tags, joinedMs, online, sinceMs, version, system, pinsGeneration } = member;
  return {
    name,
    key: fingerprint(key),
    tags,
    joined: timeText(joinedMs),
    state: sinceMs === null ? "never" : online ? "online" : "offline",
    since: sinceMs === null ? null : timeText(sinceMs),
    version,
    system,
    hasNewestAuthorities: pinsGeneration === generation,
  };
}

function listedInvite({ role, name, tags, replaces, used, expiresMs }: Invite): ListedInvite {
  return { role, name, tags, replaces, used, expires: timeText(expiresMs) };
}

/** To the second, in UTC; what somebody put into the registry instead of a time does not end the listing. */
export function timeText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "-" : date.toISOString().replace(/\.[0-9]+Z$/, "Z");
}
