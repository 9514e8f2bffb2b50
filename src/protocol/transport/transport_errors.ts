/** One place that turns what a runtime throws into a `TransportError`; by names, so that it needs no runtime. */
import { TransportError, type TransportErrorCode } from "./transport.ts";

/** What was being done: decides what an error without a meaning of its own means. */
export type Act = "listen" | "connect" | "use";

const CODE_OF_ACT: Readonly<Record<Act, TransportErrorCode>> = {
  listen: "address",
  connect: "refused",
  use: "lost",
};

/** Names of errors that mean the same whatever was being done. */
const CODE_OF_NAME: ReadonlyMap<string, TransportErrorCode> = new Map([
  // Deno's own refusal, and the system's.
  ["NotCapable", "permission"],
  ["PermissionDenied", "permission"],
  ["NotSupported", "unsupported"],
]);

/** Names that speak of the address and not of who is there. */
const ADDRESS_NAMES: ReadonlySet<string> = new Set(["TypeError", "RangeError"]);

/** TLS has one name for all its troubles, `InvalidData`, and tells them apart in words only. */
const UNTRUSTED = /certificate/i, TAMPERED = /decrypt/i;

/**
 * Makes a `TransportError` of anything; one that is a `TransportError` already stays as it is.
 *
 * @param what the beginning of the message, such as "cannot connect to tcp 127.0.0.1:1337"
 * @param needs for a missing permission: what the program wants to be run with, such as "--allow-net=127.0.0.1:1337"
 */
export function transportErrorOf(
  error: unknown,
  act: Act,
  what: string,
  needs: string | null = null,
): TransportError {
  if (error instanceof TransportError) return error;
  const name = error instanceof Error ? error.name : "";
  const found = error instanceof Error ? error.message : String(error);
  if (name === "NotCapable" && needs !== null) {
    return new TransportError(
      "permission",
      `${what}: the program lacks the permission, run it with ${needs}`,
      {
        cause: error,
      },
    );
  }
  const code = CODE_OF_NAME.get(name) ?? codeByWords(name, found, act) ?? CODE_OF_ACT[act];
  return new TransportError(code, `${what}: ${found}`, { cause: error });
}

function codeByWords(name: string, found: string, act: Act): TransportErrorCode | undefined {
  if (name === "InvalidData" && act === "connect" && UNTRUSTED.test(found)) return "untrusted";
  if (name === "InvalidData" && act === "use" && TAMPERED.test(found)) return "tampered";
  if (ADDRESS_NAMES.has(name) && act !== "use") return "address";
  return undefined;
}

/** For whatever is asked of a connection after `close`. */
export function closedHere(what: "read" | "write" | "end writing"): TransportError {
  return new TransportError("closed", `cannot ${what}: the connection was closed at this end`);
}

/** For a write after `closeWrite`. */
export function writingEnded(): TransportError {
  return new TransportError("closed", "cannot write: closeWrite was called before");
}

/** For a transport without an address of its own that is told none. */
export function noAddress(act: "listen" | "connect", transport: string, form: string): TransportError {
  return new TransportError(
    "address",
    `cannot ${act} by ${transport}: no address was given, it wants ${form}`,
  );
}
