/**
 * What a program demands of the other side before the first call. Both sides must demand the same kind: nothing is
 * negotiated, so there is nothing to talk either of them down to.
 */
import type { PeerVerifier } from "./peer_verifier.ts";
import type { SharedSecret } from "./shared_secret.ts";

/**
 * Kinds of handshake, and what each shows:
 * - `none`: both speak this protocol, the same codec and the same contracts; nothing about who they are
 * - `version-only`: the same service name and application version too; still nothing about who they are
 * - `hmac`: both hold the same secret, and nobody between them changes or reads what follows (over a connection that
 *   is `confidential` on both sides that is left to the connection)
 * - `signed-process`: the process that connected runs an executable that was signed; nothing about who listens
 */
export type HandshakeMode = "none" | "version-only" | "hmac" | "signed-process";

/** What is demanded; made by `noHandshake`, `versionOnly`, `hmac`, `signedProcess` or `asSignedProcess`. */
export interface HandshakePolicy {
  /** Which kind; both sides must demand the same. */
  readonly mode: HandshakeMode;
  /** The application's own version, compared as text unless the mode is `none`. */
  readonly applicationVersion: string;
  /** What both sides hold; only with `hmac`. It shows itself to nobody, printing it included. */
  readonly secret: SharedSecret | null;
  /** How the listening side looks at who connected; only with `signedProcess`. */
  readonly verifier: PeerVerifier | null;
}

/** What may be said of a handshake beside its kind. */
export interface HandshakeOptions {
  /** At most 64 printable ASCII characters without spaces; both sides must have the same. @default "" */
  readonly applicationVersion?: string;
}

const APPLICATION_VERSION = /^[\x21-\x7e]{0,64}$/;

/** No proof of anything, only that both sides can understand each other. */
export function noHandshake(): HandshakePolicy {
  return { mode: "none", applicationVersion: "", secret: null, verifier: null };
}

/**
 * No proof of who they are, but service name and application version must agree.
 *
 * @throws {TypeError} if the version is not of its form
 */
export function versionOnly(options: HandshakeOptions = {}): HandshakePolicy {
  return {
    mode: "version-only",
    applicationVersion: checkedApplicationVersion(options),
    secret: null,
    verifier: null,
  };
}

/**
 * The policy of the side that connects to one with `signedProcess`: it answers, and looks at nobody. Whoever listens
 * proves nothing to it.
 *
 * @throws {TypeError} if the version is not of its form
 */
export function asSignedProcess(options: HandshakeOptions = {}): HandshakePolicy {
  return {
    mode: "signed-process",
    applicationVersion: checkedApplicationVersion(options),
    secret: null,
    verifier: null,
  };
}

/**
 * The application version of the options.
 *
 * @throws {TypeError} if it is not of its form
 */
export function checkedApplicationVersion({ applicationVersion = "" }: HandshakeOptions): string {
  if (APPLICATION_VERSION.test(applicationVersion)) return applicationVersion;
  throw new TypeError(
    "cannot use that application version: accepted are at most 64 printable ASCII characters without spaces",
  );
}
