/** Asks somebody else what time it is: an NTP server, or the Date header of a web server. */
import { parseHostAddress } from "../../client/knock/destination.ts";
import { tryParseIp } from "../../protocol/knock/address.ts";
import { Failure, UsageFailure } from "../../system/failure.ts";
import type { TimeReading } from "./machine.ts";
import { encodeNtpRequest, offsetOf, readNtpAnswer, TIMESTAMP_BYTES } from "./sntp.ts";

/** Where the time comes from, as `--time-from` names it. */
export type TimeSource =
  | { readonly kind: "ntp"; readonly host: string; readonly port: number }
  | { readonly kind: "https"; readonly url: URL };

const NTP_PORT = 123;
const HTTPS_PORT = 443;
const TIMEOUT_MS = 3000;
/** More than an answer needs, so that a long one is not cut to look like a good one. */
const RECEIVE_BYTES = 1024;
/** The Date header counts whole seconds and was rounded down. */
const DATE_STEP_MS = 1000;
const FORMS = "pool.ntp.org, 192.0.2.1:123, [2001:db8::1]:123, https://example.org/";

/** @throws {UsageFailure} naming the accepted forms */
export function parseTimeSource(text: string): TimeSource {
  if (text.includes("://")) {
    const url = URL.parse(text);
    if (url?.protocol === "https:" && url.username === "" && url.password === "") {
      return { kind: "https", url };
    }
    throw refused(text);
  }
  try {
    const { host, port } = parseHostAddress(text, NTP_PORT);
    return { kind: "ntp", host, port };
  } catch (error) {
    if (error instanceof UsageFailure) throw refused(text);
    throw error;
  }
}

/** `HOST:PORT` for the net permission. */
export function timeSourceHost(source: TimeSource): string {
  if (source.kind === "https") return `${source.url.hostname}:${source.url.port || HTTPS_PORT}`;
  return source.host.includes(":") ? `[${source.host}]:${source.port}` : `${source.host}:${source.port}`;
}

/** Asks, and compares with this machine's clock. */
export async function readTime(
  source: TimeSource,
  parts: { readonly wallMs?: () => number; readonly timeoutMs?: number } = {},
): Promise<TimeReading> {
  const { wallMs = Date.now, timeoutMs = TIMEOUT_MS } = parts;
  return source.kind === "ntp"
    ? await askNtp(source, wallMs, timeoutMs)
    : await askWebServer(source.url, wallMs, timeoutMs);
}

async function askNtp(
  { host, port }: { readonly host: string; readonly port: number },
  wallMs: () => number,
  timeoutMs: number,
): Promise<TimeReading> {
  const nonce = crypto.getRandomValues(new Uint8Array(TIMESTAMP_BYTES));
  const { socket, askedAtMs } = await ask(host, port, encodeNtpRequest(nonce), wallMs);
  const timer = setTimeout(() => socket.close(), timeoutMs);
  const strays = new Set<string>();
  try {
    for (;;) {
      const [packet, from] = await socket.receive(new Uint8Array(RECEIVE_BYTES));
      const answeredAtMs = wallMs();
      if (!isFrom(from, host, port)) {
        strays.add("a datagram from another address");
        continue;
      }
      const answer = readNtpAnswer(packet, nonce);
      if (answer.kind === "time") return offsetOf(answer, askedAtMs, answeredAtMs);
      if (answer.kind === "refusal") throw new Failure(`${host} gave no time: ${answer.why}`);
      strays.add(answer.why);
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    const seen = strays.size === 0 ? "found no answer" : `found only ${[...strays].join("; ")}`;
    throw new Failure(`${host} gave no time within ${timeoutMs / 1000} s: ${seen}`);
  } finally {
    clearTimeout(timer);
    try {
      socket.close();
    } catch {
      // Closed by the timer.
    }
  }
}

/** Sends the question, over whichever family the name has. */
async function ask(
  host: string,
  port: number,
  packet: Uint8Array,
  wallMs: () => number,
): Promise<{ readonly socket: Deno.DatagramConn; readonly askedAtMs: number }> {
  let cause: unknown;
  for (const local of host.includes(":") ? ["::"] : ["0.0.0.0", "::"]) {
    let socket: Deno.DatagramConn | undefined;
    try {
      socket = Deno.listenDatagram({ transport: "udp", hostname: local, port: 0 });
      const askedAtMs = wallMs();
      await socket.send(packet, { transport: "udp", hostname: host, port });
      return { socket, askedAtMs };
    } catch (error) {
      socket?.close();
      cause ??= error;
    }
  }
  throw new Failure(`${host} could not be asked for the time`, { cause });
}

/**
 * A name is looked up by the runtime when it sends, and may give another address each time, so of a named server only
 * the port can be compared. The nonce is what makes an answer its answer.
 */
function isFrom(from: Deno.Addr, host: string, port: number): boolean {
  if (!("hostname" in from) || from.port !== port) return false;
  const ip = tryParseIp(host);
  return ip === null || tryParseIp(from.hostname) === ip;
}

async function askWebServer(url: URL, wallMs: () => number, timeoutMs: number): Promise<TimeReading> {
  const askedAtMs = wallMs();
  let response: Response;
  try {
    // A redirect would lead to a host that the permission does not name; its own Date is as good.
    response = await fetch(url, {
      method: "HEAD",
      redirect: "manual",
      signal: AbortSignal.timeout(timeoutMs),
    });
    await response.body?.cancel();
  } catch (error) {
    throw new Failure(`${url.host} gave no time`, { cause: error });
  }
  return readDate(url.host, response.headers.get("date"), askedAtMs, wallMs());
}

/** What a Date header says about the clock. */
export function readDate(
  host: string,
  date: string | null,
  askedAtMs: number,
  answeredAtMs: number,
): TimeReading {
  const sentAtMs = Date.parse(date ?? "");
  if (Number.isNaN(sentAtMs)) throw new Failure(`${host} gave no time: its answer has no Date`);
  const halfMs = (answeredAtMs - askedAtMs) / 2;
  return {
    aheadMs: sentAtMs + DATE_STEP_MS / 2 - (askedAtMs + halfMs),
    uncertaintyMs: halfMs + DATE_STEP_MS / 2,
  };
}

function refused(text: string): UsageFailure {
  return new UsageFailure(`cannot use option --time-from: found "${text}", accepted: ${FORMS}`);
}
