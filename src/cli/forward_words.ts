/**
 * The words of `postern client forward`. The permission table reads them as well, in every executable: nothing that
 * forwards is loaded here.
 */
import {
  type Bind,
  formatAddress,
  type ForwardSpec,
  parseForwardSpec,
  parseSocksBind,
} from "../client/manage/forward_spec.ts";
import { UsageFailure } from "../system/failure.ts";
import type { OptionValues } from "./parse.ts";

/** The command, as texts name it. */
export const FORWARD_LINE = "postern client forward";

/** What the words say. */
export interface ForwardWish {
  readonly host: string;
  readonly specs: readonly ForwardSpec[];
  /** Where it listens as a SOCKS proxy; null: nowhere. */
  readonly socks: Bind | null;
}

/**
 * Where it listens, as the flag of the permission has it: `host:port`, with port 0 for any free one.
 *
 * @throws {UsageFailure} if the words are wrong
 */
export function forwardListenScopes(values: OptionValues): string[] {
  const { specs, socks } = whatToForward(values);
  return [...specs.map(({ bind }) => bind), ...(socks === null ? [] : [socks])]
    .map(({ hostname, port }) => formatAddress(hostname, port));
}

/**
 * What is forwarded, and through which host.
 *
 * @throws {UsageFailure} if the words are wrong
 */
export function whatToForward(values: OptionValues): ForwardWish {
  const [host, ...texts] = values.operands;
  const socks = values.text("socks");
  if (host === undefined) throw wrongWords("no host is named");
  if (texts.length === 0 && socks === undefined) throw wrongWords("nothing to forward is named");
  if (socks === undefined && values.text("target") !== undefined) {
    throw wrongWords("--target is about --socks, which is missing");
  }
  return {
    host,
    specs: texts.map(parseForwardSpec),
    socks: socks === undefined ? null : parseSocksBind(socks),
  };
}

function wrongWords(problem: string): UsageFailure {
  return new UsageFailure(
    `cannot run "${FORWARD_LINE}": ${problem}, accepted: HOST and one or more of [BIND:]PORT[:HOST:PORT], or --socks`,
    { hint: `${FORWARD_LINE} --help` },
  );
}
