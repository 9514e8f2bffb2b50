/**
 * The few functions of the C library that shared memory between processes takes. The numbers below are the same on
 * x86_64 and aarch64: none of them is among those that Linux gives each processor its own
 * (include/uapi/asm-generic/fcntl.h, mman-common.h, linux/fcntl.h, linux/memfd.h).
 */
import { TransportError } from "../transport.ts";

export const MFD_CLOEXEC = 1,
  MFD_ALLOW_SEALING = 2,
  F_ADD_SEALS = 1033,
  F_GET_SEALS = 1034,
  F_SEAL_SEAL = 1,
  F_SEAL_SHRINK = 2,
  F_SEAL_GROW = 4,
  O_RDWR = 2,
  O_NOCTTY = 0o400,
  O_NONBLOCK = 0o4000,
  O_CLOEXEC = 0o2000000,
  SEEK_END = 2,
  PROT_READ_WRITE = 3,
  MAP_SHARED = 1;

const SYMBOLS = {
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  geteuid: { parameters: [], result: "u32" },
} as const;

/** The C library, opened. */
export type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Processors whose numbers were looked up. */
const PROCESSORS: readonly string[] = ["x86_64", "aarch64"];

/**
 * Why memory cannot be shared between processes on such a system.
 *
 * @param os as `Deno.build.os` says it
 * @param arch as `Deno.build.arch` says it
 * @returns null if it can
 */
export function unsupportedSystem(os: string, arch: string): string | null {
  if (os !== "linux") return `it takes Linux, this is ${os}`;
  if (!PROCESSORS.includes(arch)) return `it takes ${PROCESSORS.join(" or ")}, this is ${arch}`;
  return null;
}

let library: Deno.DynamicLibrary<typeof SYMBOLS> | null = null;
let users = 0;

/** Opening takes 0.6 ms, so everybody uses the same; the last one to leave closes it. */
export class LibcUse implements Disposable {
  /** The functions. */
  readonly libc: Libc;
  #isOver = false;

  /**
   * Opens the library or joins those who have.
   *
   * @throws {TransportError} "unsupported" if this is another system, "permission" if this program may not
   */
  constructor() {
    library ??= openLibc();
    users++;
    this.libc = library.symbols;
  }

  /** Leaves; does nothing the second time. */
  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (--users > 0) return;
    library?.close();
    library = null;
  }
}

function openLibc(): Deno.DynamicLibrary<typeof SYMBOLS> {
  const problem = typeof Deno === "undefined"
    ? "it takes Deno"
    : unsupportedSystem(Deno.build.os, Deno.build.arch);
  if (problem !== null) {
    throw new TransportError("unsupported", `cannot share memory between processes: ${problem}`);
  }
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    throw new TransportError(
      "permission",
      "cannot share memory between processes: it needs --allow-ffi, without a path",
    );
  }
  try {
    return Deno.dlopen("libc.so.6", SYMBOLS);
  } catch (cause) {
    throw new TransportError("unsupported", "cannot share memory between processes: no libc.so.6 was found", {
      cause,
    });
  }
}

/** A string as C has it. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}
