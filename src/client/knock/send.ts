/**
 * Sends knocks. This is the library's `sendKnock` and all of `client send`: nothing is printed here, and no file
 * is touched unless a config folder is named.
 *
 * For each destination: counter (used up first) -> packet -> one datagram. No reply is read, ever.
 */
import { type IpAddress, ipFamily, tryParseIp } from "../../protocol/knock/address.ts";
import { commandHash } from "../../protocol/knock/command_hash.ts";
import { type Key, KeyError, parseKey } from "../../protocol/knock/key.ts";
import { encodePacket, NONCE_BYTES } from "../../protocol/knock/packet.ts";
import { systemClock } from "../../system/clock.ts";
import { describeError, Failure, UsageFailure } from "../../system/failure.ts";
import { hasPermission } from "../../system/permissions.ts";
import { ClockCounter, type CounterSource } from "./counter.ts";
import {
  DEFAULT_KNOCK_PORT,
  type Destination,
  formatHostPort,
  type Lookup,
  parseHostAddress,
  resolveDestinations,
} from "./destination.ts";

/** What to knock for, where, and with which key. */
export interface SendKnockOptions {
  /** `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]:80`, `host` or `host:80`; port 80 if there is none. */
  readonly address: string;
  /** The key, or its text of 56 characters. */
  readonly key: Key | string;
  /** Name of the command, verbatim. @default "default" */
  readonly command?: string;
  /** The address the command is for. By default the one the server sees the packet come from. */
  readonly sourceIp?: string;
  /** Let the packet arrive from another address than `sourceIp`. @default false */
  readonly permissive?: boolean;
  /** Knock over this IP version only. By default over both, if the host has both. */
  readonly family?: 4 | 6;
  /** Pause before each packet but the first. @default 50 */
  readonly sendDelayMs?: number;
  /**
   * Folder of the counter file that all knocks under a key should share. By default the counter is the clock, which
   * is enough as long as it never goes back between two runs of the program.
   */
  readonly configFolder?: string;
  /** Find out everything, use up no counter and send nothing. @default false */
  readonly dryRun?: boolean;
}

/** What became of one destination. */
export interface SentKnock {
  /** Canonical IPv4 or IPv6 address. */
  readonly ip: string;
  /** UDP port. */
  readonly port: number;
  /** null if not even a counter could be had. */
  readonly counter: bigint | null;
  /** Why nothing was sent there; null if the datagram went out (or would have, in a dry run). */
  readonly error: string | null;
}

/** What `sendKnock` did. That a datagram went out says nothing about its arrival. */
export interface SendReport {
  /** Name of the command that was asked for. */
  readonly command: string;
  /** One for each address of the server that was knocked on. */
  readonly destinations: readonly SentKnock[];
  /** What the user should know, such as a counter far ahead of the clock. */
  readonly warnings: readonly string[];
}

/** The machine under a knock, replaceable by tests. */
export interface SendMachine {
  readonly counter: CounterSource;
  readonly lookup: Lookup | undefined;
  readonly fillRandom: (bytes: Uint8Array<ArrayBuffer>) => void;
  readonly sendDatagram: (packet: Uint8Array, destination: Destination) => Promise<void>;
  readonly sleep: (ms: number) => Promise<void>;
}

const DEFAULT_COMMAND = "default";
const DEFAULT_SEND_DELAY_MS = 50;

/** One for the whole process, so that two knocks of one program never carry the same counter. */
const processCounter = new ClockCounter(systemClock);

/**
 * Sends one knock to each destination the address stands for: its first IPv4 and its first IPv6 address. Each
 * packet has its own counter, nonce and destination IP. A destination that fails is reported and the rest is tried.
 *
 * @example
 * ```ts
 * import { sendKnock } from "@postern/postern";
 *
 * const key = await Deno.readTextFile("user.key");
 * const report = await sendKnock({ address: "host.example:34020", key, command: "open_ssh" });
 * console.log(report.destinations.filter((each) => each.error === null).length, "sent");
 * ```
 *
 * @throws {UsageFailure} if an option is malformed
 * @throws {Failure} if the name cannot be resolved, or no destination could be sent to; it lists each cause
 */
export function sendKnock(options: SendKnockOptions): Promise<SendReport> {
  return sendKnockWith({}, options);
}

/** {@link sendKnock} on a machine of which parts are replaced. */
export async function sendKnockWith(
  machine: Partial<SendMachine>,
  options: SendKnockOptions,
): Promise<SendReport> {
  const key = typeof options.key === "string" ? readKeyText(options.key) : options.key;
  const command = options.command ?? DEFAULT_COMMAND;
  const address = parseHostAddress(options.address, DEFAULT_KNOCK_PORT);
  const sourceIp = options.sourceIp === undefined ? null : readSourceIp(options.sourceIp);
  const destinations = await resolveDestinations(address, options.family ?? null, machine.lookup);
  const counterSource = machine.counter ?? await openCounter(options.configFolder);
  const sleep = machine.sleep ?? sleepMs;

  const warnings: string[] = [];
  const sent: SentKnock[] = [];
  const causes: unknown[] = [];
  for (const destination of destinations) {
    if (sent.length > 0 && options.dryRun !== true) await sleep(options.sendDelayMs ?? DEFAULT_SEND_DELAY_MS);
    let counter: bigint | null = null;
    let error: string | null = null;
    try {
      const step = options.dryRun ? await counterSource.peek() : await counterSource.next();
      counter = step.counter;
      if (step.warning !== null && !warnings.includes(step.warning)) warnings.push(step.warning);
      if (!options.dryRun) {
        const nonce = new Uint8Array(NONCE_BYTES);
        (machine.fillRandom ?? crypto.getRandomValues.bind(crypto))(nonce);
        const packet = encodePacket(key, {
          commandHash: commandHash(command),
          counter,
          strict: options.permissive !== true,
          sourceIp,
          destinationIp: destination.ip,
        }, nonce);
        await (machine.sendDatagram ?? sendDatagram)(packet, destination);
      }
    } catch (cause) {
      causes.push(cause);
      error = describeError(cause);
    }
    sent.push({ ip: destination.ip, port: destination.port, counter, error });
  }
  if (causes.length === sent.length) throw allFailed(options.address, sent, causes);
  return { command, destinations: sent, warnings };
}

function allFailed(address: string, sent: readonly SentKnock[], causes: readonly unknown[]): Failure {
  const reasons = new Set(sent.map((each) => each.error));
  const detail = reasons.size === 1
    ? [...reasons][0]
    : sent.map((each) => `${formatHostPort(each.ip, each.port)}: ${each.error}`).join("; ");
  const hinted = causes.find((cause) => cause instanceof Failure && cause.hint !== undefined);
  return new Failure(`cannot knock on ${address}: ${detail}`, {
    hint: hinted instanceof Failure ? hinted.hint : undefined,
  });
}

/** Loaded only for a folder, since files are not needed to knock. */
async function openCounter(configFolder: string | undefined): Promise<CounterSource> {
  if (configFolder === undefined) return processCounter;
  const { CounterFile } = await import("./counter_file.ts");
  return new CounterFile(configFolder);
}

function readKeyText(text: string): Key {
  try {
    return parseKey(text);
  } catch (error) {
    if (error instanceof KeyError) throw new UsageFailure(error.message);
    throw error;
  }
}

function readSourceIp(text: string): IpAddress {
  const ip = tryParseIp(text);
  // On the wire 16 zero bytes mean "no source IP", so the unspecified address cannot be asked for.
  if (ip !== null && ip !== "::") return ip;
  throw new UsageFailure(
    `cannot use source address "${text}": accepted: one IPv4 or IPv6 address, without a prefix length`,
  );
}

/** Sends one datagram from a socket of its own, on any free port. */
async function sendDatagram(packet: Uint8Array, { ip, port }: Destination): Promise<void> {
  const target = formatHostPort(ip, port);
  const local = ipFamily(ip) === 4 ? "0.0.0.0" : "::";
  // Asked first, because a socket call without the grant would prompt on a terminal.
  for (const host of [formatHostPort(local, 0), target]) {
    if (!hasPermission({ name: "net", host })) {
      throw new Failure(`no permission to use ${host}`, {
        hint: `add --allow-net=${formatHostPort(local, 0)},${target} to deno run`,
      });
    }
  }
  if (Deno.listenDatagram === undefined) {
    throw new Failure("UDP is not switched on in this program", {
      hint: 'add --unstable-net to deno run, or "unstable": ["net"] to deno.json',
    });
  }
  const socket = Deno.listenDatagram({ transport: "udp", hostname: local, port: 0 });
  try {
    const sentBytes = await socket.send(packet, { transport: "udp", hostname: ip, port });
    if (sentBytes !== packet.length) {
      throw new Failure(`only ${sentBytes} of ${packet.length} bytes were sent`);
    }
  } finally {
    socket.close();
  }
}

function sleepMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
