/** The link of an administrator's program to the management server. */
import { type Pins, type serverForAdmin } from "../../protocol/manage/control_contract.ts";
import { controlPeer } from "../../protocol/manage/control_flow.ts";
import type { ResetError } from "../../protocol/manage/reset_code.ts";
import type { RunningLink } from "../../protocol/manage/running_link.ts";
import type { SigningKey } from "../../protocol/manage/signing_key.ts";
import { RpcError } from "../../protocol/rpc/errors.ts";
import type { Peer } from "../../protocol/rpc/peer.ts";
import { type RandomBytes, systemRandomBytes, type Timers } from "../../protocol/rpc/timers.ts";
import { AuditHeads } from "./audit_heads.ts";
import { dialServer } from "./dial_server.ts";
import { readIdentity } from "./identity.ts";
import type { ManageFolder, ServerRecord } from "./manage_folder.ts";

/** How to reach the server that was joined. */
export interface ConnectOptions {
  readonly folder: ManageFolder;
  readonly timers: Timers;
  /** Takes lines for people: what is waited for, warnings. */
  readonly onNotice: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** @default systemRandomBytes */
  readonly random?: RandomBytes;
  /** All addresses together have this long. @default 10,000 */
  readonly timeoutMs?: number;
}

/** One link to the server, and what belongs to it. */
export interface ServerLink {
  /** The server's calls. */
  readonly control: Peer<typeof serverForAdmin>;
  /** Carries the sessions. */
  readonly link: RunningLink;
  /** By which name the server knows this administrator. */
  readonly name: string;
  readonly key: SigningKey;
  readonly record: ServerRecord;
  readonly folder: ManageFolder;
  readonly heads: AuditHeads;
  readonly timers: Timers;
  readonly random: RandomBytes;
  /** Resolves once, when the link is gone; never rejects. */
  readonly closed: Promise<ResetError>;
  /** Tells the server and hangs up; what goes on over the link is lost. */
  close(): void;
  /**
   * The same, before the program ends: the server is told, heads are stored, and so are certificates that it has handed
   * out, which it learns too. Waits for nobody but this machine, for a millisecond or two.
   */
  leave(): Promise<void>;
}

/**
 * Connects to the server that was joined.
 *
 * @throws {Failure} if none was joined, or none of its addresses leads to it, each with its reason; {ResetError} what
 * the server says instead, such as "revoked"; the signal's reason
 */
export async function connectServer(options: ConnectOptions): Promise<ServerLink> {
  const { folder, timers, onNotice, signal, random = systemRandomBytes } = options;
  const record = folder.server();
  const { addresses, caCertificates, serverKey } = record;
  // Before anybody is dialled: where the file cannot be read there must be no link that nobody ends.
  const heads = new AuditHeads(folder, serverKey, onNotice);
  const key = readIdentity(folder);
  const { link, control: flow, name } = await dialServer({
    kind: "link",
    addresses,
    caCertificates,
    serverKey,
    key,
    timers,
    random,
    onNotice,
    signal,
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  });
  let pinning: Promise<unknown> | null = null;
  const control = controlPeer(flow, {
    role: "dialler",
    side: "administrator",
    handlers: {
      ended: async (head) => {
        await heads.take(head);
        return null;
      },
      pin: async (pins) => {
        const kept = keepPins(folder, pins);
        pinning = kept.catch(() => {});
        await kept;
        return null;
      },
    },
    timers,
  });
  const close = (): void => link.close("cancelled", "the administrator's program has ended");
  return {
    control,
    link,
    name,
    key: await key,
    record,
    folder,
    heads,
    timers,
    random,
    closed: link.closed,
    close,
    async leave(): Promise<void> {
      const oneTurn = (): Promise<void> => new Promise((resolve) => timers.after(0, resolve));
      if (pinning !== null) {
        await pinning;
        // The answer is on its way then.
        await oneTurn();
      }
      close();
      // What was said lies in the socket after one turn of the event loop; without, the server would hear nothing.
      await Promise.all([heads.kept, oneTurn()]);
    },
  };
}

/** What a call over a link that is gone has failed with: the link knows better why. Anything else as it is. */
export async function lossOf({ link }: ServerLink, error: unknown): Promise<unknown> {
  const isLost = error instanceof RpcError && (error.code === "disconnected" || error.code === "unavailable");
  return isLost && !link.isOpen ? await link.closed : error;
}

/**
 * Durable before the server is told: it may drop the old certificate once all have the new one. What a proven server hands
 * out always counts, also with a lower generation, as one restored from a backup has it: what was swallowed would be taken
 * for stored.
 */
async function keepPins(folder: ManageFolder, { caCertificates, generation }: Pins): Promise<void> {
  await folder.locked(() => {
    const record = folder.server();
    const isKnown = generation === record.generation &&
      caCertificates.join() === record.caCertificates.join();
    if (!isKnown) folder.keepServer({ ...record, caCertificates, generation });
  });
}
