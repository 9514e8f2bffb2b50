/**
 * Proves that a knock runs a command on this machine: with a real packet, by the way every packet takes.
 *
 * The packet is made for `ips[0]` and permissive with that source, so that the command is asked for an address that
 * a client could have; it is sent to the listening address over loopback, since a public address behind NAT does not
 * come back to its own machine. It asks for `postern_check`, under a key that may ask for nothing else.
 */
import { sendKnockWith } from "../client/knock/send.ts";
import { type Destination, formatHostPort } from "../client/knock/destination.ts";
import { type IpAddress, ipFamily } from "../protocol/knock/address.ts";
import { parseKey } from "../protocol/knock/key.ts";
import { loadServerConfig, type ServerConfig } from "../server/knock/config.ts";
import { Failure } from "../system/failure.ts";
import { nameOf } from "../system/path.ts";
import { CHECK_COMMAND } from "./layout.ts";
import { JOURNALCTL } from "./programs.ts";
import { readStatusCounts, type StatusCounts } from "./status_counts.ts";

export interface ProofOptions {
  readonly configPath: string;
  readonly keyPath: string;
  /** For all of it: the server writes its counts once a second. */
  readonly timeoutMs: number;
  /** Where to send the packet, for a server under test; default: the port of the configuration, over loopback. */
  readonly port?: number;
  /** The commander's unit: its journal must then say that the command ran. Default: the counts are enough. */
  readonly commanderUnit?: string;
}

const POLL_MS = 100;
/** A status file older than this is one of a server that is gone; it is written once a second. */
const FRESH_MS = 3000;
const DOCTOR_HINT = "postern-setup server doctor";
const MS_PER_SECOND = 1000;

/**
 * Sends one knock and waits until it has arrived everywhere it should.
 *
 * @throws {Failure} naming the stage that was not reached, what was seen there instead, and the next step
 */
export async function proveKnock(options: ProofOptions): Promise<void> {
  const deadlineMs = Date.now() + options.timeoutMs;
  const config = await loadServerConfig(options.configPath);
  const [ip] = config.ips;
  if (ip === undefined) {
    throw unproven(`${config.configPath} lists no address in ips, accepted is at least one`);
  }
  const statusPath = config.statusPath;
  if (statusPath === null || !statusPath.endsWith(".json")) {
    throw unproven(
      `${config.configPath} has no status_file that ends in .json, and the server tells nobody else what it counted`,
      'status_file = "/var/lib/postern/status.json", then restart the server',
    );
  }
  const key = parseKey((await readKeyText(options.keyPath)).trim());
  const stem = nameOf(options.keyPath).replace(/\.key$/, "");
  let before = await freshCounts(statusPath, deadlineMs);
  let sentAtMs = Date.now();
  const destination = { ip: loopbackOf(config), port: options.port ?? config.address.port };
  const knock = (): Promise<unknown> =>
    sendKnockWith({ sendDatagram: (packet) => sendTo(packet, destination) }, {
      address: formatHostPort(ip, destination.port),
      key,
      command: CHECK_COMMAND,
      sourceIp: ip,
      permissive: true,
    });
  await knock();
  let unreached: UnreachedCommander | null = null;
  await until(deadlineMs, async () => {
    const now = await readStatusCounts(statusPath);
    if (now === null) return new Failure(`found no readable status file ${statusPath}`);
    const found = judge(before, now, { stem, sentAtMs, destination });
    if (!(found instanceof UnreachedCommander)) return found === null ? null : unreached ?? found;
    // One that was started a moment ago may not listen yet, and a knock is never sent again by the server.
    unreached = found;
    before = now;
    sentAtMs = Date.now();
    await knock();
    return found;
  });
  const { commanderUnit } = options;
  if (commanderUnit !== undefined) {
    await until(deadlineMs, () => judgeJournal(commanderUnit, ip, sentAtMs));
  }
}

class UnreachedCommander extends Failure {}

/** Waits for the counts of a server that runs now. */
async function freshCounts(path: string, deadlineMs: number): Promise<StatusCounts> {
  let found: StatusCounts | null = null;
  await until(deadlineMs, async () => {
    found = await readStatusCounts(path);
    if (found === null) return unproven(`no server runs: found no readable status file ${path}`);
    const ageMs = Date.now() - found.atMs;
    if (ageMs < FRESH_MS) return null;
    return unproven(`no server runs: ${path} is ${Math.round(ageMs / MS_PER_SECOND)} seconds old`);
  });
  if (found === null) throw new TypeError("a fresh status is one that was read");
  return found;
}

interface Sent {
  readonly stem: string;
  readonly sentAtMs: number;
  readonly destination: Destination;
}

/** What is missing so far; null: the packet was accepted and forwarded. */
function judge(
  before: StatusCounts,
  now: StatusCounts,
  { stem, sentAtMs, destination }: Sent,
): Failure | null {
  if (now.startedAtMs !== before.startedAtMs) {
    return unproven("the server was started anew while its proof was under way", "run this again");
  }
  const floorMs = now.floorsMs.get(stem);
  // The floor of the key moves to the packet's counter, which is the time it was sent: so this was our packet, and not
  // another's knock of the same second. The counts come rounded to a tenth of a second.
  const isOurs = floorMs !== undefined && floorMs >= sentAtMs - MS_PER_SECOND;
  if (isOurs && now.forwarded > before.forwarded) return null;
  if (isOurs && now.forwardFailures > before.forwardFailures) {
    return new UnreachedCommander(
      "could not prove that a knock works: the server accepted the packet, and could not reach the commander",
      { hint: "postern-setup commander doctor" },
    );
  }
  const reasons = [...now.refused].filter(([reason, count]) => count > (before.refused.get(reason) ?? 0));
  if (reasons.length > 0) {
    return unproven(`the server refused a packet: ${reasons.map(([reason]) => reason).join(", ")}`);
  }
  if (now.received > before.received) {
    return unproven("the server received a packet, and has not forwarded it");
  }
  return unproven(
    `the server received nothing: the packet went to ${formatHostPort(destination.ip, destination.port)}`,
    "is a local firewall in the way? " + DOCTOR_HINT,
  );
}

/** What is missing so far; null: the commander's journal says that the command ran and succeeded. */
async function judgeJournal(unit: string, ip: IpAddress, sentAtMs: number): Promise<Failure | null> {
  const since = `@${Math.floor(sentAtMs / MS_PER_SECOND) - 1}`;
  const { success, stdout } = await new Deno.Command(JOURNALCTL, {
    args: ["--unit", unit, "--since", since, "--output", "cat", "--no-pager", "--quiet"],
    stdin: "null",
    stderr: "null",
  }).output();
  if (!success) return unproven(`the journal of ${unit} could not be read`);
  const lines = new TextDecoder().decode(stdout).split("\n").filter((line) =>
    line.includes(CHECK_COMMAND) && line.includes(ip)
  );
  const finished = lines.find((line) => line.includes("command finished"));
  if (finished === undefined) {
    const last = lines.at(-1);
    return unproven(
      `the commander got the knock, and its journal does not say that the command ran` +
        (last === undefined ? "" : `: ${last}`),
      `journalctl -u ${unit} -n 20`,
    );
  }
  if (/status=0\b|"status":0\b/.test(finished)) return null;
  return unproven(`the command ran and failed: ${finished}`, `journalctl -u ${unit} -n 20`);
}

function unproven(found: string, hint = DOCTOR_HINT): Failure {
  return new Failure(`could not prove that a knock works: ${found}`, { hint });
}

/** Asks again and again until nothing is missing; throws what is missing when the time is over. */
async function until(deadlineMs: number, missing: () => Promise<Failure | null>): Promise<void> {
  for (;;) {
    const found = await missing();
    if (found === null) return;
    if (Date.now() >= deadlineMs) throw found;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The address of this machine under which the server hears us without a network. */
function loopbackOf({ address }: ServerConfig): IpAddress {
  if (address.ip !== "::" && address.ip !== "0.0.0.0") return address.ip;
  // [::] hears IPv4 too, and there are machines whose loopback has no IPv6 address.
  return "127.0.0.1" as IpAddress;
}

async function sendTo(packet: Uint8Array, { ip, port }: Destination): Promise<void> {
  const local = ipFamily(ip) === 4 ? "0.0.0.0" : "::";
  const socket = Deno.listenDatagram({ transport: "udp", hostname: local, port: 0 });
  try {
    await socket.send(packet, { transport: "udp", hostname: ip, port });
  } finally {
    socket.close();
  }
}

async function readKeyText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new Failure(`could not read the key ${path}`, { cause: error, hint: DOCTOR_HINT });
  }
}
