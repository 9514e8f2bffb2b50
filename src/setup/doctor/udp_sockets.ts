/** Who listens on a UDP port, as `ss` of iproute2 tells it: the runtime may not look into /proc. */
import type { Machine } from "./machine.ts";
import { SS } from "./programs.ts";

export interface UdpSocket {
  /** `*` is every address of both families, `0.0.0.0` or `[::]` every one of one family. */
  readonly host: string;
  /** As `name (pid 12)`; empty if it is not ours to see. */
  readonly processes: string;
  readonly uid: number;
  readonly bufferBytes: number | null;
  /** Datagrams that found the buffer full. */
  readonly drops: number | null;
}

/** null: `ss` is not installed, or did not work. */
export async function udpSockets(machine: Machine, port: number): Promise<readonly UdpSocket[] | null> {
  const result = await machine.run(SS, ["-H", "-u", "-l", "-n", "-p", "-m", "-e", `sport = :${port}`]);
  if (result === null || result.code !== 0) return null;
  return parseUdpSockets(result.stdout);
}

/**
 * ```
 * UNCONN 0 0 *:34020 *:* users:(("deno",pid=7,fd=21)) uid:998 ino:3 sk:2 v6only:0 <->
 * \t skmem:(r0,rb212992,t0,tb212992,f0,w0,o0,bl0,d0)
 * ```
 */
export function parseUdpSockets(text: string): UdpSocket[] {
  return text.replace(/\n\s+/g, " ").split("\n").flatMap((line) => {
    const [state, , , local] = line.trim().split(/\s+/);
    if (state === undefined || local === undefined || !local.includes(":")) return [];
    const memory = /skmem:\(([^)]*)\)/.exec(line)?.[1];
    return [{
      host: local.slice(0, local.lastIndexOf(":")),
      processes: [...line.matchAll(/\("([^"]*)",pid=([0-9]+)/g)].map(([, name, pid]) =>
        `${name} (pid ${pid})`
      ).join(", "),
      // Left out for root.
      uid: Number(/\buid:([0-9]+)/.exec(line)?.[1] ?? 0),
      bufferBytes: numberIn(memory, /(?:^|,)rb([0-9]+)/),
      drops: numberIn(memory, /(?:^|,)d([0-9]+)/),
    }];
  });
}

function numberIn(text: string | undefined, pattern: RegExp): number | null {
  const digits = pattern.exec(text ?? "")?.[1];
  return digits === undefined ? null : Number(digits);
}
