/**
 * Opens a session on a host. The server finds the host and carries the bytes; what counts is between the two ends:
 *
 *   program -> server  prepare(name)                          over the control flow
 *   server  -> host    challenge
 *   server  -> program host key, nonce of its link, challenge
 *                      the key is compared with known_hosts before anything is signed for it
 *   program -> server  open: signed, with our ephemeral key   a flow of its own
 *   server  -> host    the same, with the server's head
 *   host    -> server  answer: signed, with its ephemeral key
 *   server  -> program the same, with the server's head
 *                      the answer is verified with the host key; both ends have the keys of the session
 *   program <-> host   records, and RPC inside of them
 */
import { type Action, CHALLENGE_LIFE_MS, type Prepared } from "../../protocol/manage/control_contract.ts";
import type { FlowConnection } from "../../protocol/manage/flow_connection.ts";
import { isName, NAME_FORM } from "../../protocol/manage/names.ts";
import { ResetError } from "../../protocol/manage/reset_code.ts";
import type { hostForAdmin } from "../../protocol/manage/session_contract.ts";
import { sessionPeer } from "../../protocol/manage/session_flow.ts";
import { SessionExchange, sessionKeys } from "../../protocol/manage/session_keys.ts";
import {
  decodeAnswerForAdmin,
  decodeOpen,
  type SessionOpen,
  signOpen,
  verifyAnswer,
} from "../../protocol/manage/session_open.ts";
import { ApplicationError, type ConnectionError } from "../../protocol/rpc/errors.ts";
import type { Peer } from "../../protocol/rpc/peer.ts";
import { loadRecordCipher } from "../../system/record_cipher.ts";
import { UsageFailure } from "../../system/failure.ts";
import { offlineHost, unknownHost } from "./absent_host.ts";
import { checkHostKey } from "./known_hosts.ts";
import { lossOf, type ServerLink } from "./server_link.ts";
import { isResetCode, toldFailure } from "./told_failure.ts";
import { waitFor } from "./waiting.ts";

/** The host is asked for its challenge by way of the server. */
const PREPARE_TIMEOUT_MS = 10_000;
/** The server makes its row durable, the host asks its policy. */
const OPEN_TIMEOUT_MS = 15_000;

/** What is to be opened, and where. */
export interface SessionWish {
  /** Name of the host. */
  readonly host: string;
  readonly action: Action | "attach";
  /** Of attach: the session meant, 16 hexadecimal digits. */
  readonly session?: string | undefined;
  /** Of forward: patterns of what will be connected to. */
  readonly targets?: readonly string[];
  /** Of shell: it outlives the link. */
  readonly outlivesLink?: boolean;
  /** Pins another key of the host in the place of the known one. */
  readonly acceptKey?: boolean;
  /** Takes lines for people. */
  readonly onNotice: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** A session that stands. */
export interface OpenSession {
  /** The host's calls. */
  readonly peer: Peer<typeof hostForAdmin>;
  /** 16 hexadecimal digits. */
  readonly session: string;
  readonly flow: FlowConnection;
  /** Resolves when the session is over; null: without a reason, as after a program that has ended. Never rejects. */
  readonly ended: Promise<ResetError | null>;
}

const SESSION_BYTES = 8;

/**
 * Opens a session.
 *
 * @throws {Failure} in words for people: no such host, offline, refused by the server or the host, its key has changed,
 * the link was lost; the signal's reason
 */
export async function openSession(link: ServerLink, wish: SessionWish): Promise<OpenSession> {
  const { host } = wish;
  if (!isName(host)) {
    throw new UsageFailure(`cannot open a session: found a HOST that is no name, accepted are ${NAME_FORM}`, {
      hint: nameMeant(host),
    });
  }
  try {
    return await openedAnew(link, wish);
  } catch (error) {
    throw await inWords(error, link, host);
  }
}

/** Habits of DNS, which knows no capitals, and of ssh. */
function nameMeant(host: string): string {
  const name = host.slice(host.lastIndexOf("@") + 1).toLowerCase();
  if (!isName(name)) return "postern client hosts lists those that you may reach";
  return host.includes("@")
    ? `did you mean: ${name}, whose agent.toml says as which user sessions run`
    : `did you mean: ${name}`;
}

/** A host that has linked anew between its challenge and the open knows nothing of it: then it is asked once more. */
async function openedAnew(link: ServerLink, wish: SessionWish): Promise<OpenSession> {
  try {
    return await opened(link, wish);
  } catch (error) {
    const isStale = error instanceof ResetError && error.by === "there" && error.code === "expired";
    if (!isStale) throw error;
    return await opened(link, wish);
  }
}

async function opened(link: ServerLink, wish: SessionWish): Promise<OpenSession> {
  const { host, onNotice, signal } = wish;
  // Made while the host is asked.
  const exchanging = SessionExchange.create(link.random);
  exchanging.catch(() => {});
  const prepared = await waitFor(
    { what: `${host} to answer`, timeoutMs: PREPARE_TIMEOUT_MS, timers: link.timers, onNotice, signal },
    (given) => link.control.client.prepare(host, { deadlineMs: 0, signal: given }),
  );
  const { folder } = link;
  const { hostKey: key } = prepared;
  const finding = checkHostKey({ folder, host, key, acceptKey: wish.acceptKey ?? false, onNotice });
  const exchange = await exchanging;
  const bytes = await signed(fieldsOf(wish, prepared, exchange, link), link);
  const { connection: flow, parameters } = await waitFor(
    {
      what: `${host} to open the session`,
      timeoutMs: OPEN_TIMEOUT_MS,
      timers: link.timers,
      onNotice,
      signal,
    },
    (given) => link.link.open("session", bytes, { signal: given }),
  );
  try {
    const { answer, head } = decodeAnswerForAdmin(parameters);
    const open = decodeOpen(bytes);
    const [keys, cipher] = await Promise.all([
      keysOf(open, answer, exchange),
      loadRecordCipher(),
      link.heads.take(head),
    ]);
    await finding.pin();
    const peer = sessionPeer(flow, keys, { side: "administrator", timers: link.timers, cipher });
    return { peer, session: open.session, flow, ended: peer.closed.then((why) => endingOf(why, flow)) };
  } catch (error) {
    flow.reset("cancelled", "the answer was refused");
    throw error;
  }
}

function fieldsOf(
  wish: SessionWish,
  { hostKey, linkNonce, challenge }: Prepared,
  { publicKey: ephemeral }: SessionExchange,
  { random }: ServerLink,
): Parameters<typeof signOpen>[0] {
  return {
    action: wish.action,
    outlivesLink: wish.outlivesLink ?? false,
    session: wish.session ?? random(SESSION_BYTES).toHex(),
    hostKey,
    linkNonce,
    challenge,
    expiresMs: CHALLENGE_LIFE_MS,
    ephemeral,
    targets: wish.targets ?? [],
  };
}

/** What has no form was typed: an id, or too many targets. */
async function signed(
  fields: Parameters<typeof signOpen>[0],
  { key }: ServerLink,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await signOpen(fields, key);
  } catch (error) {
    throw error instanceof TypeError ? new UsageFailure(error.message) : error;
  }
}

async function keysOf(
  open: SessionOpen,
  answer: Uint8Array,
  exchange: SessionExchange,
): Promise<ReturnType<typeof sessionKeys>> {
  const theirs = await verifyAnswer(open, answer);
  return sessionKeys(await exchange.agree(theirs), open.bytes, answer);
}

/** A peer that was closed in order hangs up by a reset, which is no news. */
function endingOf({ reason, by, message }: ConnectionError, { failure }: FlowConnection): ResetError | null {
  if (reason === "normal") return null;
  const isOwn = failure === null || (failure.by === "here" && failure.code === "cancelled");
  return isOwn ? new ResetError(reason === "lost" ? "lost" : "malformed", by, message) : failure;
}

/** A host that is not there is told with what is near it, or since when: for that the server is asked once more. */
async function inWords(error: unknown, link: ServerLink, host: string): Promise<unknown> {
  const code = error instanceof ResetError
    ? error.code
    : error instanceof ApplicationError
    ? error.reason
    : "";
  if (!isResetCode(code) || (code !== "unknown_host" && code !== "offline")) {
    return toldFailure(await lossOf(link, error), host);
  }
  try {
    const rows = await link.control.client.hosts(null);
    return code === "offline" ? offlineHost(host, rows) : unknownHost(host, rows);
  } catch {
    return toldFailure(error, host);
  }
}
