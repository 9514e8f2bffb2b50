/** Every program under test by the word that the measuring processes are started with. */
import type { LocalProgram, Program } from "./subject.ts";

/** Loaded only in the processes that need it: none pays for the libraries of another. */
export const PROGRAMS: Readonly<Record<string, () => Promise<Program>>> = {
  postern: async () => (await import("./postern.ts")).postern,
  "postern-giving-back": async () => (await import("./postern.ts")).posternGivingBack,
  "postern-hmac": async () => (await import("./postern.ts")).posternHmac,
  grpc: async () => (await import("./grpc.ts")).grpcJs,
  birpc: async () => (await import("./birpc.ts")).birpcOverSockets(),
  "birpc-no-timeout": async () => (await import("./birpc.ts")).birpcOverSockets(-1),
  raw: async () => (await import("./raw.ts")).rawSocket,
};

/** Those that meet within a process. */
export const LOCAL_PROGRAMS: Readonly<Record<string, () => Promise<LocalProgram>>> = {
  postern: async () => (await import("./postern.ts")).posternLocal,
  birpc: async () => (await import("./birpc.ts")).birpcOverPorts,
};

/** @throws {TypeError} if there is no such program */
export async function load<P>(
  programs: Readonly<Record<string, () => Promise<P>>>,
  name: string,
): Promise<P> {
  const program = programs[name];
  if (program === undefined) throw new TypeError(`no such program: "${name}"`);
  return await program();
}
