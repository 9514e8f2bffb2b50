/** `net.core.rmem_default`: the receive buffer that a UDP socket gets, since Deno cannot ask for another. */
const PATH = "/proc/sys/net/core/rmem_default";
/** As the shipped sysctl.d file sets it. */
const RAISED_BYTES = 8 * 1024 * 1024;

/** In bytes; null where the kernel does not tell. */
export function receiveBufferBytes(): number | null {
  try {
    return Number(Deno.readTextFileSync(PATH));
  } catch {
    return null;
  }
}

/**
 * Raises the default for the whole machine until disposed of; only sockets opened meanwhile are concerned. null if
 * that is not allowed.
 */
export function raiseReceiveBuffer(): Disposable | null {
  const before = receiveBufferBytes();
  if (before === null || !write(Math.max(before, RAISED_BYTES))) return null;
  return { [Symbol.dispose]: () => void write(before) };
}

function write(bytes: number): boolean {
  try {
    Deno.writeTextFileSync(PATH, `${bytes}`);
    return true;
  } catch {
    return false;
  }
}
