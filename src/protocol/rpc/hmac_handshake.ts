/** The handshake of two sides that share a secret. */
import {
  checkedApplicationVersion,
  type HandshakeOptions,
  type HandshakePolicy,
} from "./handshake_policy.ts";
import { SharedSecret } from "./shared_secret.ts";

/**
 * Both sides must hold the same secret. Nothing of it travels, and a proof is good for one connection, service, role
 * and contract only. Over a connection that is not confidential everything after the proofs is encrypted with keys
 * of this connection alone. Over one that both sides call confidential nothing is encrypted a second time: there,
 * somebody who has taken the path of a Unix socket, or ends TLS on both sides, can pass the proofs on and then read
 * and change what follows.
 *
 * Whoever can watch the connection can try secrets at home, so it must be random: 32 bytes of
 * `crypto.getRandomValues`, not a password. Whoever gets to know it later can read what was recorded.
 *
 * @param secret at least 16 bytes, or a text with at least 16 bytes of UTF-8; copied
 * @throws {TypeError} if the secret is too short, or the version is not of its form
 */
export function hmac(secret: string | Uint8Array, options: HandshakeOptions = {}): HandshakePolicy {
  return {
    mode: "hmac",
    applicationVersion: checkedApplicationVersion(options),
    secret: new SharedSecret(secret),
    verifier: null,
  };
}
