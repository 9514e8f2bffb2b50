/** `server manage audit`: prints the audit, or proves that nothing in it was changed. */
import { decodeHead, HEAD_BYTES, verifyHead } from "../../protocol/manage/audit_head.ts";
import type { SignedHead } from "../../protocol/manage/control_contract.ts";
import { fingerprint } from "../../protocol/manage/signing_key.ts";
import { Failure } from "../../system/failure.ts";
import { escapeHidden, quoteVisibly } from "../../system/visible_text.ts";
import type { AuditHead, AuditRow } from "./audit.ts";
import { openDataFolder } from "./data_folder.ts";
import { timeText } from "./list.ts";
import { Registry } from "./registry.ts";
import { readServerKey, readText } from "./server_identity.ts";

/** What `--verify` has found. */
export interface Verified {
  readonly sound: boolean;
  /** How many rows hold, from the first one on. */
  readonly rows: number;
  /** Hash of the last one that holds, in hexadecimal digits; null where nothing is sound. */
  readonly head: string | null;
  /** Number of the head that was kept elsewhere; null: none was given, and the end of the audit is unproven. */
  readonly against: number | null;
  /** The first row that is wrong, and how; null where all are right. */
  readonly wrong: { readonly row: number; readonly problem: string } | null;
}

/** The newest rows of a folder's audit, the newest one last. */
export async function auditRows(path: string, limit: number): Promise<AuditRow[]> {
  const folder = await openDataFolder(path);
  using registry = await Registry.open(folder);
  return registry.audit.rows({ limit });
}

/**
 * Walks the whole chain.
 *
 * @param headFile a head that a client or an agent keeps: 104 bytes in hexadecimal digits
 * @throws {Failure} if that file is none, or another server has signed it
 */
export async function verifyAudit(path: string, headFile: string | null): Promise<Verified> {
  const folder = await openDataFolder(path);
  const { publicKey } = await readServerKey(folder);
  const kept = headFile === null ? null : await readKeptHead(headFile, publicKey);
  using registry = await Registry.open(folder);
  const verdict = registry.audit.verify(kept);
  const against = kept === null ? null : kept.number;
  if (!verdict.isSound) {
    const { row, problem } = verdict;
    return { sound: false, rows: row - 1, head: null, against, wrong: { row, problem } };
  }
  const { number, hash } = verdict.head;
  return { sound: true, rows: number, head: hash.toHex(), against, wrong: null };
}

/** What was found, in one or two lines. */
export function verifiedLines({ rows, head, against, wrong }: Verified): string[] {
  if (wrong !== null) return [`the audit is not sound: row ${wrong.row}: ${wrong.problem}`];
  const lines = [`OK: ${rows} rows, the last one has the hash ${head}`];
  if (against === null) {
    lines.push(
      "that no rows were cut off at the end is unproven: give --head a head that a client or an agent keeps",
    );
  } else if (against < rows) {
    lines.push(
      `nothing was changed up to row ${against}, the head that was kept; the rows after it are unproven`,
    );
  } else {
    lines.push(`the head that was kept is row ${against}: nothing was changed or cut off`);
  }
  return lines;
}

/** A row for people: time, event, and what it says as NAME=VALUE. */
export function auditLine({ number, atMs, event, body }: AuditRow): string {
  const said = typeof body === "string"
    ? quoteVisibly(body)
    : Object.entries(body).filter(([, value]) => value !== null).map(([name, value]) =>
      `${escapeHidden(name)}=${plainValue(value)}`
    ).join(" ");
  return `${number} ${timeText(atMs)} ${escapeHidden(event)} ${said}`;
}

/** A row for programs. */
export function auditObject({ number, atMs, event, body }: AuditRow): Record<string, unknown> {
  return { number, at: timeText(atMs), event, body };
}

function plainValue(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "-" : value.map(plainValue).join(",");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /^[!-~]+$/.test(text) && !text.includes('"') ? text : quoteVisibly(text);
}

async function readKeptHead(path: string, serverKey: Uint8Array): Promise<AuditHead> {
  const head = headOf(await readText(path));
  if (head === null) {
    throw new Failure(
      `cannot use ${path}: found no head of an audit, accepted are ${2 * HEAD_BYTES} hexadecimal digits`,
    );
  }
  if (await verifyHead(head, serverKey)) return head;
  throw new Failure(
    `cannot use ${path}: this server, ${fingerprint(serverKey)}, has not signed it`,
    { hint: "it is the head of another server, or server.key is not the one it was" },
  );
}

function headOf(text: string): SignedHead | null {
  try {
    return decodeHead(Uint8Array.fromHex(text.trim()));
  } catch {
    return null;
  }
}
