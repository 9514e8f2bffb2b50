/**
 * The handshake "signed process": the listening side looks itself at who has connected, and takes only a process
 * whose executable is signed. Linux, TCP on loopback.
 *
 * What it proves: which file the process that holds the other end was executed from, at two moments, one before and
 * one after it answered. What it does not: what runs in that process, and who speaks.
 *
 * - Whoever may trace it, preload a library into it or feed it a configuration makes it do other things.
 * - Whoever may start a signed program can hand it an open connection that it knows nothing of, and keep another
 *   descriptor of it where no process shows it: in flight on a Unix socket, among the files of an io_uring, or in a
 *   thread with descriptors of its own. (Asking each thread takes ten times as long and closes one of the three.)
 * - Whoever serves the file system that the executable lies on decides what each reader finds in it.
 *
 * So it keeps out the programs of users who can do none of that; it is no proof against one who can start the signed
 * program. Interpreters are refused by their names, as a reminder to whoever signs: a copy under another name passes.
 * Only programs should be signed that make their connections themselves and do not hand them on. An old signed version
 * is a signed one.
 */
import {
  checkedApplicationVersion,
  type HandshakeOptions,
  type HandshakePolicy,
} from "../protocol/rpc/handshake_policy.ts";
import { PeerRefusal, type PeerVerifier, type VerifiedProcess } from "../protocol/rpc/peer_verifier.ts";
import { type Connection, TransportError } from "../protocol/transport/transport.ts";
import { nameOf } from "../system/path.ts";
import {
  isSigned,
  MAX_SIGNATURE_FILE_BYTES,
  parseSignatureFile,
  parseSigningKey,
  SIGNATURE_SUFFIX,
} from "./executable_signature.ts";
import {
  type ProcessView,
  type RunningImage,
  type SocketEnds,
  socketEndsOf,
  soleHolder,
} from "./peer_process.ts";
import { ProcView } from "./proc_view.ts";
import { ProgramView, VIEW_PROGRAMS } from "./program_view.ts";

/** What the listening side of a "signed process" handshake demands. */
export interface SignedProcessOptions extends HandshakeOptions {
  /** The Ed25519 key that executables are signed for: 32 bytes, or their base64. */
  readonly publicKey: string | Uint8Array;
  /** Longest executable that is read, in bytes. @default 256 MiB */
  readonly maxImageBytes?: number;
}

const DEFAULT_MAX_IMAGE_BYTES = 256 * 1024 * 1024;

/**
 * Takes only processes of this machine that run an executable signed for a key: the signature lies beside it, with
 * `.sig` added to its name. The other side connects with `asSignedProcess`; it learns nothing about this one.
 *
 * Needs `--allow-all`, or `--allow-run=ss,readlink,cat`; processes of other users are seen by root only.
 *
 * @throws {TypeError} if the key is none, or the version not of its form
 * @throws {TransportError} "unsupported" on anything but Linux
 */
export function signedProcess(options: SignedProcessOptions): HandshakePolicy {
  return signedProcessSeenBy(null, options);
}

/** The same with a way of looking at processes; null: the one that this program is allowed when it first looks. */
export function signedProcessSeenBy(
  view: ProcessView | null,
  { publicKey, maxImageBytes = DEFAULT_MAX_IMAGE_BYTES, ...rest }: SignedProcessOptions,
): HandshakePolicy {
  requireLinux(Deno.build.os);
  return {
    mode: "signed-process",
    applicationVersion: checkedApplicationVersion(rest),
    secret: null,
    verifier: new SignatureVerifier(parseSigningKey(publicKey), maxImageBytes, view),
  };
}

/**
 * Only Linux tells it.
 *
 * @throws {TransportError} "unsupported" on anything but Linux
 */
export function requireLinux(os: string): void {
  if (os === "linux") return;
  throw new TransportError(
    "unsupported",
    `cannot tell the process at the other end: found ${os}, supported is Linux`,
  );
}

class SignatureVerifier implements PeerVerifier {
  readonly #key: Uint8Array<ArrayBuffer>;
  readonly #maxImageBytes: number;
  #view: ProcessView | null;
  /** Settles when the executable that is being read now was read. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(key: Uint8Array<ArrayBuffer>, maxImageBytes: number, view: ProcessView | null) {
    this.#key = key;
    this.#maxImageBytes = maxImageBytes;
    this.#view = view;
  }

  async verify(connection: Connection, signal: AbortSignal): Promise<VerifiedProcess> {
    const ends = socketEndsOf(connection);
    const view = this.#view ??= await allowedView();
    const pid = await soleHolder(view, ends, signal);
    const image = await view.image(pid, signal);
    await this.#requireSigned(view, pid, image, signal);
    await requireSame(view, ends, pid, image, signal);
    return {
      executablePath: image.path,
      confirm: (signal) => requireSame(view, ends, pid, image, signal),
    };
  }

  async #requireSigned(
    view: ProcessView,
    pid: number,
    { path }: RunningImage,
    signal: AbortSignal,
  ): Promise<void> {
    if (isInterpreter(path)) {
      throw new PeerRefusal(`found the interpreter ${path}: its signature says nothing of what it runs`);
    }
    // Signature first: whoever has none does not make this side read a large file.
    const file = await view.readFile(path + SIGNATURE_SUFFIX, MAX_SIGNATURE_FILE_BYTES, signal);
    const signature = parseSignatureFile(file);
    if (signature === null) throw new PeerRefusal(`found no signature in ${path}${SIGNATURE_SUFFIX}`);
    const signed = await this.#inTurn(signal, async () => {
      return await isSigned(await view.readImage(pid, this.#maxImageBytes, signal), signature, this.#key);
    });
    if (!signed) {
      throw new PeerRefusal(`found that ${path} is not what was signed, or signed for another key`);
    }
  }

  /** One executable at a time: strangers on many connections must not fill the memory with theirs. */
  #inTurn<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    const called = Promise.withResolvers<never>();
    const callOff = (): void => called.reject(signal.reason);
    if (signal.aborted) callOff();
    signal.addEventListener("abort", callOff);
    const acted = this.#reading.then(() => {
      signal.throwIfAborted();
      return Promise.race([act(), called.promise]);
    });
    this.#reading = acted.catch(() => {});
    return Promise.race([acted, called.promise]).finally(() => signal.removeEventListener("abort", callOff));
  }
}

/** Looks again whether the same process, alone, holds the connection and runs the same file. */
async function requireSame(
  view: ProcessView,
  ends: SocketEnds,
  pid: number,
  image: RunningImage,
  signal: AbortSignal,
): Promise<void> {
  const now = await soleHolder(view, ends, signal);
  const { identity } = await view.image(now, signal);
  if (now !== pid || identity !== image.identity) {
    throw new PeerRefusal("found another process or executable than before");
  }
}

/** Programs that do what they are told, by the name of their file: shells, languages, loaders, debuggers. */
const INTERPRETERS = new RegExp(
  "^(?:" + [
    "(?:ba|da|a|z|k|mk|c|tc|fi|ya|pw|r)?sh",
    "busybox|toybox|env|sudo|su|doas|xargs|find|ssh|screen|tmux|script|expect",
    "(?:python|pypy|perl|ruby|php|lua|luajit|tclsh|wish|guile|node|nodejs|gawk)[\\d.-]*",
    "deno|bun|java|mono|dotnet|R|Rscript|erl|beam\\.smp|julia|octave|sbcl|ghci|qjs|gjs|awk|mawk|sed|vim?|emacs.*",
    "ld(?:-.*)?\\.so(?:\\..*)?|ld-linux.*|qemu-.*|wine.*|gdb|lldb|strace|ltrace|valgrind.*|socat|ncat|nc\\..*|nc",
  ].join("|") + ")$",
);

/** Whether a path is that of a program known to run what it is given. */
export function isInterpreter(path: string): boolean {
  return INTERPRETERS.test(nameOf(path));
}

/** @throws {TransportError} "permission" if this program may look neither way */
async function allowedView(): Promise<ProcessView> {
  if (await mayReadProc()) return new ProcView();
  const states = await Promise.all(
    VIEW_PROGRAMS.map((command) => Deno.permissions.query({ name: "run", command })),
  );
  if (states.every(({ state }) => state === "granted")) return new ProgramView();
  throw new TransportError(
    "permission",
    `cannot look at the process at the other end: it needs --allow-all or --allow-run=${
      VIEW_PROGRAMS.join(",")
    }`,
  );
}

/** Only all permissions together open /proc. Asked for beforehand, since trying would ask at a terminal. */
async function mayReadProc(): Promise<boolean> {
  const names = ["read", "write", "net", "env", "sys", "run", "ffi"] as const;
  const states = await Promise.all(names.map((name) => Deno.permissions.query({ name })));
  if (!states.every(({ state }) => state === "granted")) return false;
  try {
    await Deno.lstat("/proc/net/tcp");
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return false;
    throw error;
  }
}
