/**
 * What checks the values of a session, see session_contract.ts: on the host those of an administrator, who may have
 * stolen the key, and with the administrator those of a host that may be broken into.
 *
 * Nothing of session_contract.ts is imported but types: it needs these values while it is being loaded.
 */
import type { Schema } from "../rpc/contract.ts";
import type {
  ConnectStart,
  ExecOutput,
  ExecStart,
  ProgramExit,
  ShellInput,
  ShellOutput,
  ShellStart,
  WindowSize,
} from "./session_contract.ts";
import {
  anyOf,
  bytesOf,
  counted,
  type Form,
  objectOf,
  strictSchema,
  textOf,
  visibleText,
  whole,
  wordOf,
} from "./strict_schema.ts";

const KIB = 1024;
/** The same as `MAX_ITEM_BYTES`. */
const ITEM_BYTES = 64 * KIB;
/** Of a program and its arguments together: UTF-8, with a byte behind each, as the system counts them. */
export const MAX_COMMAND_BYTES: number = 128 * KIB;
const MAX_ARGUMENTS = 16_384;
/** Rows or columns, at most: what the system's own field takes. */
export const MAX_WINDOW = 65_535;
const MAX_PORT = 65_535,
  MAX_EXIT_CODE = 255,
  MAX_TEXT_CHARACTERS = 300;

const windowSide: Form<number> = whole(1, MAX_WINDOW);
const windowSize: Form<WindowSize> = objectOf<WindowSize>({ rows: windowSide, columns: windowSide });
const printed: Form<Uint8Array<ArrayBuffer>> = bytesOf(1, ITEM_BYTES);
const forwarded: Form<Uint8Array<ArrayBuffer>> = bytesOf(0, ITEM_BYTES);
const programExit: Form<ProgramExit> = objectOf<ProgramExit>({ exitCode: whole(0, MAX_EXIT_CODE) });
const text: Form<string> = visibleText(MAX_TEXT_CHARACTERS);

/** Programs and arguments: no NUL, which would end them early where they are started. */
function command(value: unknown): ReturnType<Form<readonly string[]>> {
  const wanted = { message: "it wants a program and its arguments, 128 KiB together" };
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_ARGUMENTS || value[0] === "") {
    return wanted;
  }
  const encoder = new TextEncoder();
  let bytes = 0;
  for (let at = 0; at < value.length; at++) {
    const part: unknown = value[at];
    if (typeof part !== "string" || part.length > MAX_COMMAND_BYTES || part.includes("\0")) return wanted;
    if (!part.isWellFormed()) return wanted;
    bytes += encoder.encode(part).length + 1;
    if (bytes > MAX_COMMAND_BYTES) return wanted;
  }
  return null;
}

/** How a shell begins; a terminal that does not know its window says 24 and 80, not 0. */
export const checkShellStart: Schema<ShellStart> = strictSchema(objectOf<ShellStart>({
  rows: windowSide,
  columns: windowSide,
  term: textOf(/^[A-Za-z0-9._+-]{1,64}$/),
  seenBytes: counted,
}));

/** What was typed, at least one byte; or another size of the window. */
export const checkShellInput: Schema<ShellInput> = strictSchema(anyOf<[Uint8Array<ArrayBuffer>, WindowSize]>(
  printed,
  windowSize,
));

/** What a shell prints, which is for a terminal and may hold anything; or another fact. */
export const checkShellOutput: Schema<ShellOutput> = strictSchema(
  anyOf<
    [
      Uint8Array<ArrayBuffer>,
      Extract<ShellOutput, { readonly skippedBytes: number }>,
      ProgramExit,
      Extract<ShellOutput, { readonly ended: string }>,
    ]
  >(
    printed,
    objectOf({ skippedBytes: whole(1, Number.MAX_SAFE_INTEGER) }),
    programExit,
    objectOf({ ended: wordOf("replaced", "revoked", "expired", "agent_stopped"), text }),
  ),
);

/** A program and its arguments. */
export const checkExecStart: Schema<ExecStart> = strictSchema(objectOf<ExecStart>({ command }));

/** What a program prints, on which of its outputs; or another fact. */
export const checkExecOutput: Schema<ExecOutput> = strictSchema(
  anyOf<
    [
      Extract<ExecOutput, { readonly stdout: unknown }>,
      Extract<ExecOutput, { readonly stderr: unknown }>,
      ProgramExit,
      Extract<ExecOutput, { readonly ended: string }>,
    ]
  >(
    objectOf({ stdout: forwarded }),
    objectOf({ stderr: forwarded }),
    programExit,
    objectOf({ ended: wordOf("revoked", "expired", "agent_stopped"), text }),
  ),
);

/** Bytes on their way; none are the end of a direction. */
export const checkForwarded: Schema<Uint8Array<ArrayBuffer>> = strictSchema(forwarded);

/** Where a connection is wanted to: a name or an address, never a whole line of something else. */
export const checkConnectStart: Schema<ConnectStart> = strictSchema(objectOf<ConnectStart>({
  host: textOf(/^[A-Za-z0-9_:][A-Za-z0-9._:%-]{0,252}$/),
  port: whole(1, MAX_PORT),
}));
