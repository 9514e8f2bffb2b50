/** Asks a host for a session, and passes its answer on. What comes from a host may be a lie. */
import type { SignedHead } from "../../protocol/manage/control_contract.ts";
import type { FlowConnection } from "../../protocol/manage/flow_connection.ts";
import { type ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import type { IncomingFlow, OpenedFlow } from "../../protocol/manage/running_link.ts";
import { ANSWER_BYTES, answerForAdmin } from "../../protocol/manage/session_open.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { HOST_ANSWER_MS } from "./config.ts";
import type { HostLink } from "./host_links.ts";

/** What a host may say of an open; anything else is the server's to say, and would have the client believe that it did. */
const CODES_OF_HOSTS: ReadonlySet<ResetCode> = new Set([
  "refused_by_host",
  "authentication",
  "expired",
  "exhausted",
  "malformed",
  "version",
  "shutting_down",
  "internal",
  "cancelled",
]);

/**
 * Opens the flow of a session, as long as the administrator wants it and no longer than it may take.
 *
 * @param parameters see `openForHost`
 * @param windowBytes what the host may send before it was taken
 * @param administratorGone settles when the administrator's own flow is over
 * @throws {ResetError} the host's refusal; "offline", "cancelled", "lost"
 */
export async function askHost(
  host: HostLink,
  parameters: Uint8Array,
  administratorGone: Promise<unknown>,
  timers: Timers,
  windowBytes: number,
): Promise<OpenedFlow> {
  const giveUp = new AbortController();
  const abort = (code: ResetCode, text: string): void => giveUp.abort(new ResetError(code, "here", text));
  const callOff = timers.after(HOST_ANSWER_MS, () => abort("offline", `${host.name} does not answer`));
  void administratorGone.then(() => abort("cancelled", "the administrator has given up"));
  try {
    return await host.link.open("session", parameters, { signal: giveUp.signal, windowBytes });
  } catch (error) {
    throw giveUp.signal.aborted ? giveUp.signal.reason : saidByHost(error);
  } finally {
    callOff();
  }
}

/**
 * Answers the administrator with what the host has answered, and the head of the audit.
 *
 * @throws {ResetError} "malformed" if the host's is no answer; its flow is ended then
 */
export function answer(
  flow: IncomingFlow,
  { parameters, connection }: OpenedFlow,
  head: SignedHead,
  windowBytes: number,
): FlowConnection {
  if (parameters.length !== ANSWER_BYTES) {
    connection.reset("malformed", `an answer has ${ANSWER_BYTES} bytes`);
    throw new ResetError("malformed", "here", "the host answered with what is no answer");
  }
  try {
    return flow.accept(answerForAdmin(parameters, head), { windowBytes });
  } catch (error) {
    connection.reset("cancelled", "");
    throw error;
  }
}

function saidByHost(error: unknown): unknown {
  if (!(error instanceof ResetError) || error.by === "here" || error.code === "lost") return error;
  if (CODES_OF_HOSTS.has(error.code)) return error;
  return new ResetError("refused_by_host", "there", error.message, { cause: error });
}
