/**
 * Memory of two processes: a file without a name (memfd_create(2)) that one makes and the other opens as
 * /proc/PID/fd/N. It is gone when the last of them is, whatever happened to them, and never on a disk.
 *
 * Its size is sealed. Whoever could cut it short could kill the other side: touching a page that a file does not have
 * any more is a SIGBUS. So the one who opens it looks for the seal before he touches anything.
 */
import { TransportError } from "../transport.ts";
import {
  cString,
  F_ADD_SEALS,
  F_GET_SEALS,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  type Libc,
  LibcUse,
  MAP_SHARED,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  O_CLOEXEC,
  O_NOCTTY,
  O_NONBLOCK,
  O_RDWR,
  PROT_READ_WRITE,
  SEEK_END,
} from "./mmap_libc.ts";

const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** Memory that is mapped here. */
export interface Mapping {
  /** The memory. Detached by `unmap`: nothing can touch what is not there any more. */
  readonly memory: ArrayBuffer;
  /** Takes it out of this process; does nothing the second time. */
  unmap(): void;
}

/** Memory that was made here. */
export interface MadeMemory extends Mapping {
  /** Number of the file in this process, by which another one opens it. */
  readonly descriptor: number;
  /** Closes the file; the memory stays. Does nothing the second time. */
  closeDescriptor(): void;
}

/**
 * Makes memory, all zeros.
 *
 * @throws {TransportError} "unsupported" or "permission" if this process cannot
 */
export function makeMemory(bytes: number): MadeMemory {
  const use = new LibcUse();
  const { libc } = use;
  const descriptor = libc.memfd_create(cString("postern-ring"), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  try {
    if (
      descriptor < 0 || libc.ftruncate(descriptor, BigInt(bytes)) !== 0 ||
      libc.fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !== 0
    ) {
      throw failed("the system gives no memory, or too many files are open");
    }
    const mapping = map(use, descriptor, bytes);
    let isOpen = true;
    const closeDescriptor = (): void => {
      if (isOpen) libc.close(descriptor);
      isOpen = false;
    };
    return {
      memory: mapping.memory,
      descriptor,
      closeDescriptor,
      unmap(): void {
        closeDescriptor();
        mapping.unmap();
      },
    };
  } catch (error) {
    if (descriptor >= 0) libc.close(descriptor);
    use[Symbol.dispose]();
    throw error;
  }
}

/**
 * Opens memory that another process has made.
 *
 * @param pid that process; what it says of itself, and so checked against what is found
 * @param descriptor number of the file in that process
 * @throws {TransportError} "lost" if that is no sealed memory of so many bytes, or not for this process
 */
export function openMemory(pid: number, descriptor: number, bytes: number): Mapping {
  const use = new LibcUse();
  const { libc } = use;
  // Whatever the number stands for, opening it neither waits nor takes a terminal.
  const flags = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  const opened = libc.open(cString(`/proc/${pid}/fd/${descriptor}`), flags);
  try {
    if (opened < 0) {
      throw failed(
        "that of the other process cannot be opened; both must be of one user and one PID namespace",
      );
    }
    if (!isSealed(libc, opened) || libc.lseek(opened, 0n, SEEK_END) !== BigInt(bytes)) {
      throw failed("what the other process names is no sealed memory of the right size");
    }
    return map(use, opened, bytes);
  } catch (error) {
    use[Symbol.dispose]();
    throw error;
  } finally {
    if (opened >= 0) libc.close(opened);
  }
}

/** The user that this process acts as. */
export function effectiveUser(): number {
  using use = new LibcUse();
  return use.libc.geteuid();
}

/** Fails with -1 for anything that is no memfd, and -1 has every bit. */
function isSealed(libc: Libc, descriptor: number): boolean {
  const seals = libc.fcntl(descriptor, F_GET_SEALS, 0);
  return seals > 0 && (seals & F_SEAL_SHRINK) !== 0;
}

function map(use: LibcUse, descriptor: number, bytes: number): Mapping {
  const at = use.libc.mmap(null, BigInt(bytes), PROT_READ_WRITE, MAP_SHARED, descriptor, 0n);
  if (at === null || Deno.UnsafePointer.value(at) === MAP_FAILED) {
    throw failed("the system does not map it");
  }
  const memory = Deno.UnsafePointerView.getArrayBuffer(at, bytes);
  let isMapped = true;
  return {
    memory,
    unmap(): void {
      if (!isMapped) return;
      isMapped = false;
      // Views of it would otherwise point to where something else may be soon.
      memory.transfer(0);
      use.libc.munmap(at, BigInt(bytes));
      use[Symbol.dispose]();
    },
  };
}

function failed(found: string): TransportError {
  return new TransportError("lost", `cannot share memory: ${found}`);
}
