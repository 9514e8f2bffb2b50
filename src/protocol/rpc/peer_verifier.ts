/** What the "signed process" handshake asks of the machine it runs on. */
import type { Connection } from "../transport/transport.ts";

/** Finds the process at the other end of a connection and says whether it runs what it should. */
export interface PeerVerifier {
  /**
   * First look, before anything was said that the process could have to answer.
   *
   * @throws {PeerRefusal} if the process is not one to be trusted
   * @throws {TransportError} "unsupported" or "permission" if this machine or program cannot look
   */
  verify(connection: Connection, signal: AbortSignal): Promise<VerifiedProcess>;
}

/** A process that was looked at once. */
export interface VerifiedProcess {
  /** Absolute path of the executable, as the system tells it. */
  readonly executablePath: string;
  /**
   * Second look, after the process has answered.
   *
   * @throws {PeerRefusal} if the connection is not still held by that process alone, or it runs something else now
   */
  confirm(signal: AbortSignal): Promise<void>;
}

/** The process at the other end is not one to be trusted. */
export class PeerRefusal extends Error {
  /** Makes one; the message says what was found, for this side's log, and is not sent. */
  constructor(message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = "PeerRefusal";
  }
}
