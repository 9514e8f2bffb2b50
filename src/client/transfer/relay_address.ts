/** Which relay a transfer goes through. */
import { Failure, UsageFailure } from "../../system/failure.ts";
import { hasPermission } from "../../system/permissions.ts";
import { formatHostPort, parseHostAddress } from "../knock/destination.ts";

/** Names the relay where the command line does not. */
export const RELAY_VARIABLE = "POSTERN_RELAY";
/** The port that `postern server relay` listens on if it is told nothing else. */
export const DEFAULT_RELAY_PORT = 8080;
/** The forms accepted, for error texts. */
export const RELAY_FORMS = "HOST:PORT, 192.0.2.1:8080 or [2001:db8::1]:8080";

/** A relay and who named it. */
export interface NamedRelay {
  /** `host:port` or `[v6]:port`, as a permission flag and a command line write it. */
  readonly address: string;
  readonly from: "--relay" | typeof RELAY_VARIABLE;
}

/**
 * The relay that was named: on the command line, else by the environment, if that may be read.
 *
 * @param option what follows `--relay`
 * @returns null if nobody names one
 * @throws {UsageFailure} if what names it has no form of {@link RELAY_FORMS}
 */
export function namedRelay(option: string | undefined): NamedRelay | null {
  if (option !== undefined) return { address: relayAddress(option, "--relay"), from: "--relay" };
  const text = relayOfEnvironment();
  return text === null ? null : { address: relayAddress(text, RELAY_VARIABLE), from: RELAY_VARIABLE };
}

/**
 * The same, where there must be one.
 *
 * @param line the command without it, such as `postern client share`, for the hint
 * @throws {UsageFailure} with how to start one and name it, if there is none
 */
export function requireRelay(option: string | undefined, line: string): string {
  const named = namedRelay(option);
  if (named !== null) return named.address;
  throw new UsageFailure(
    `cannot run "${line}": no relay is named, accepted: --relay HOST:PORT, or the variable ${RELAY_VARIABLE}`,
    {
      hint:
        `${line} --relay HOST:${DEFAULT_RELAY_PORT}; on HOST, which both sides can reach, one is started by:`,
      hintLines: ["  postern server relay"],
    },
  );
}

/** Only what may be read counts: whoever asks must never prompt. */
function relayOfEnvironment(): string | null {
  if (!hasPermission({ name: "env", variable: RELAY_VARIABLE })) return null;
  return Deno.env.get(RELAY_VARIABLE) || null;
}

function relayAddress(text: string, from: NamedRelay["from"]): string {
  try {
    const { host, port } = parseHostAddress(text);
    return formatHostPort(host, port);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const found = /: (found .*), accepted/.exec(error.message)?.[1] ?? "found another form";
    const withPort = `${from}${from === "--relay" ? " " : "="}${formatHostPort(text, DEFAULT_RELAY_PORT)}`;
    // Without its cause, which says the same in the words of a knock.
    throw new UsageFailure(`cannot use ${from} ${JSON.stringify(text)}: ${found}, accepted: ${RELAY_FORMS}`, {
      hint: found === "found no port" ? withPort : undefined,
    });
  }
}
