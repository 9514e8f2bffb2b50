/** Who can reach an address: needed to warn of a service without authentication, and to publish one others can use. */

/** Transports that other users of other machines never reach; the rest is judged by the address. */
const WITHIN_THE_MACHINE: ReadonlySet<string> = new Set([
  "memory",
  "unix",
  "message-port",
  "worker-ring",
  "mmap-ring",
  "stdio",
]);
const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|\[::1\]|::1|localhost)$/i;

/** Whether others than this user's own processes on this machine may reach it. When in doubt, they may. */
export function strangersReach(transport: string, address: string): boolean {
  if (WITHIN_THE_MACHINE.has(transport)) return false;
  return !LOOPBACK.test(hostOf(address));
}

/**
 * The address that a process of the same machine connects to: a listener on all addresses is reached by loopback, and
 * not everywhere by the "all zeros" it calls itself.
 */
export function addressToPublish(address: string): string {
  return address
    .replace(/^((?:[a-z]+:\/\/)?)0\.0\.0\.0(?=:)/, "$1127.0.0.1")
    .replace(/^((?:[a-z]+:\/\/)?)\[::\](?=:)/, "$1[::1]");
}

/** The host of "host:port", "[host]:port" and "scheme://host:port/path". */
function hostOf(address: string): string {
  const authority = address.replace(/^[a-z]+:\/\//i, "").replace(/[/?#].*$/s, "");
  return authority.replace(/:[^:\]]*$/, "");
}
