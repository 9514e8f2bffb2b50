/**
 * One process of simulated hosts, started by crowd.ts; tells on standard output how many are linked, a line of JSON
 * whenever that has changed:
 *
 *   crowd_process.ts '{"folder": ..., "port": ..., "first": ..., "count": ...}'
 */
import { type Crowd, SimulatedHosts } from "./simulated_hosts.ts";

const TELL_MS = 50;

/** What one process is to do. */
export interface Share extends Omit<Crowd, "serverKey" | "serverCertificate"> {
  /** In hexadecimal digits, as JSON has no bytes. */
  readonly serverKey: string;
  readonly serverCertificate: string;
  readonly first: number;
  readonly count: number;
}

/** What it tells. */
export interface Told {
  readonly linked: number;
  /** Failed attempts, by reason. */
  readonly failures: Readonly<Record<string, number>>;
}

if (import.meta.main) {
  const share = JSON.parse(Deno.args[0] ?? "") as Share;
  const hosts = new SimulatedHosts({
    ...share,
    serverKey: Uint8Array.fromHex(share.serverKey),
    serverCertificate: Uint8Array.fromHex(share.serverCertificate),
  });
  let told = "";
  setInterval(() => {
    const line = JSON.stringify({ linked: hosts.linked, failures: Object.fromEntries(hosts.failures) });
    if (line !== told) Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
    told = line;
  }, TELL_MS);
  await hosts.come(share.first, share.count);
}
