/**
 * What `client forward` is told: where to listen here, and where the connections go from the host.
 *
 *   PORT                       127.0.0.1:PORT here, localhost:PORT on the host
 *   BIND:PORT                  the same, listening on another address
 *   PORT:HOST:PORT             127.0.0.1:PORT here, HOST:PORT as the host reaches it
 *   BIND:PORT:HOST:PORT
 *
 * An IPv6 address stands in brackets. A port of 0 here is any free one.
 */
import {
  parseHostPort,
  type Target,
  TARGET_PATTERN_FORMS,
  tryParsePattern,
} from "../../protocol/manage/target_pattern.ts";
import { UsageFailure } from "../../system/failure.ts";

/** Where to listen here. */
export interface Bind {
  /** Name or address, without brackets. */
  readonly hostname: string;
  /** 0: any free one. */
  readonly port: number;
}

/** One forward. */
export interface ForwardSpec {
  readonly bind: Bind;
  /** As the host resolves it. */
  readonly target: Target;
}

/** The forms, for messages. */
export const FORWARD_FORMS =
  "PORT or PORT:HOST:PORT, each with BIND: before it or not, and IPv6 addresses in brackets";
/** The forms of `--socks`. */
export const SOCKS_FORMS = "PORT or BIND:PORT, with an IPv6 address in brackets";

/** As many as a signed open can hold, see session_open.ts. */
export const MAX_TARGETS = 32;

const LOOPBACK = "127.0.0.1";
const MAX_PORT = 65_535;
const ANY_PORT = 1;

/**
 * Reads one forward.
 *
 * @throws {UsageFailure} if it has another form
 */
export function parseForwardSpec(text: string): ForwardSpec {
  const what = `cannot forward "${text}"`;
  const parts = partsOf(text);
  const [first = "", second = "", third = "", fourth = ""] = parts ?? [];
  switch (parts?.length) {
    case 1:
      return toSamePort({ hostname: LOOPBACK, port: portOf(first, what) }, what);
    case 2:
      if (isNumber(first) && isNumber(second)) {
        throw wrong(
          what,
          "there are two ports without a host between",
          `did you mean ${first}:localhost:${second}`,
        );
      }
      return toSamePort(bindOf(first, second, what), what);
    case 3:
      if (!isNumber(first)) throw wrong(what, `"${first}" is no port, and the host's port is missing`);
      return { bind: bindOf(LOOPBACK, first, what), target: targetOf(second, third, what) };
    case 4:
      return { bind: bindOf(first, second, what), target: targetOf(third, fourth, what) };
    default:
      throw wrong(what, "it has another form");
  }
}

/**
 * Reads where a SOCKS listener is wanted.
 *
 * @throws {UsageFailure} if it has another form
 */
export function parseSocksBind(text: string): Bind {
  const what = `cannot use option --socks "${text}"`;
  const [first = "", second, ...more] = partsOf(text) ?? ["", "", ""];
  if (more.length > 0) throw wrong(what, "it has another form", undefined, SOCKS_FORMS);
  return second === undefined
    ? { hostname: LOOPBACK, port: portOf(first, what, SOCKS_FORMS) }
    : bindOf(first, second, what, SOCKS_FORMS);
}

/** An address as text, with brackets where it needs them. */
export function formatAddress(hostname: string, port: number): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

/**
 * The targets that are declared when the session is opened, so that the server's policy can look at them: those of the
 * forwards and, for SOCKS, those of `--target` or any.
 *
 * @param patterns the text of `--target`: HOST:PORT patterns with commas between
 * @throws {UsageFailure} if there are none or too many, or one has another form
 */
export function declaredTargets(
  specs: readonly ForwardSpec[],
  hasSocks: boolean,
  patterns: string | undefined,
): string[] {
  const named = patterns === undefined ? [] : patterns.split(",").map((each) => each.trim());
  for (const pattern of named) {
    if (tryParsePattern(pattern) !== null) continue;
    throw wrong(
      `cannot use option --target "${pattern}"`,
      "it has another form",
      undefined,
      `${TARGET_PATTERN_FORMS}; more of them with commas between`,
    );
  }
  const socks = hasSocks && named.length === 0 ? ["*:*"] : named;
  const targets = [
    ...new Set([...specs.map(({ target }) => formatAddress(target.host, target.port)), ...socks]),
  ];
  if (targets.length === 0 || targets.length > MAX_TARGETS) {
    throw new UsageFailure(`cannot forward to ${targets.length} targets: accepted are 1 to ${MAX_TARGETS}`, {
      hint: "postern client forward --help",
    });
  }
  return targets;
}

/** The parts between colons, with their brackets; null if those are wrong. */
function partsOf(text: string): string[] | null {
  const part = String.raw`(?:\[[^[\]]*\]|[^:[\]]*)`;
  if (!new RegExp(`^${part}(?::${part})*$`).test(text)) return null;
  // A colon in brackets is none between parts.
  return text.split(/:(?![^[]*\])/);
}

function toSamePort(bind: Bind, what: string): ForwardSpec {
  if (bind.port === 0) {
    throw wrong(
      what,
      "a port of 0 is any free one here, but the host's must be named",
      `did you mean 0:localhost:PORT`,
    );
  }
  return { bind, target: { host: "localhost", port: bind.port } };
}

function bindOf(host: string, portText: string, what: string, forms: string = FORWARD_FORMS): Bind {
  const port = portOf(portText, what, forms);
  // Of a host any port will do to see whether it is one.
  return { hostname: hostOf(host, ANY_PORT, what, forms).host, port };
}

function targetOf(host: string, portText: string, what: string): Target {
  const port = portOf(portText, what);
  if (port === 0) throw wrong(what, "the host's port is 0");
  return hostOf(host, port, what, FORWARD_FORMS);
}

function hostOf(text: string, port: number, what: string, forms: string): Target {
  const target = parseHostPort(`${text}:${port}`);
  if (target !== null) return target;
  throw wrong(what, text === "" ? "a host is empty" : `"${text}" is no name or address`, undefined, forms);
}

function portOf(text: string, what: string, forms: string = FORWARD_FORMS): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : NaN;
  if (port <= MAX_PORT) return port;
  throw wrong(what, text === "" ? "a port is empty" : `"${text}" is no port`, undefined, forms);
}

function isNumber(text: string): boolean {
  return /^[0-9]+$/.test(text);
}

function wrong(what: string, problem: string, hint?: string, forms: string = FORWARD_FORMS): UsageFailure {
  return new UsageFailure(`${what}: ${problem}, accepted: ${forms}`, {
    hint: hint ?? "postern client forward --help",
  });
}
