/** The server's status file, through which tests account for every datagram. */
import { until } from "./until.ts";

export interface Status {
  readonly received: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly accepted: number;
  readonly forwarded: number;
  readonly forward_failures: number;
  readonly uncommitted: number;
  readonly queue_depth: number;
  readonly floors_durable: boolean;
  readonly floor_write_failures: number;
  readonly last_reload: { readonly at: string; readonly ok: boolean; readonly error: string | null } | null;
}

export async function readStatus(path: string): Promise<Status> {
  return JSON.parse(await Deno.readTextFile(path));
}

/** Waits for a status file that shows what the caller wants to see. */
export async function statusWhere(
  path: string,
  what: string,
  shows: (status: Status) => boolean,
): Promise<Status> {
  let last: Status | undefined;
  try {
    return await until(`the status shows ${what}`, async () => {
      last = await readStatus(path);
      return shows(last) && last;
    });
  } catch (error) {
    throw new Error(`no such status; the last was ${JSON.stringify(last)}`, { cause: error });
  }
}

/** Waits until `count` datagrams of this server's life were received, judged and settled. */
export function statusAfter(path: string, count: number): Promise<Status> {
  return statusWhere(path, `${count} datagrams settled`, (status) => {
    const settled = status.accepted + refusals(status);
    const delivered = status.forwarded + status.forward_failures;
    return status.received === count && settled === count && delivered === status.accepted;
  });
}

export function refusals(status: Status): number {
  return Object.values(status.refused).reduce((sum, count) => sum + count, 0);
}

/** The refusals that happened at all, by reason. */
export function refusalsByReason(status: Status): Record<string, number> {
  return Object.fromEntries(Object.entries(status.refused).filter(([, count]) => count > 0));
}
