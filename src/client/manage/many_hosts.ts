/** A program on all hosts that have a tag: so many at once, and what came of it on each. */
import type { HostRow } from "../../protocol/manage/control_contract.ts";
import { Failure } from "../../system/failure.ts";
import { didYouMean } from "../../system/suggest.ts";
import { offlineHost } from "./absent_host.ts";
import { exec } from "./exec.ts";
import { listHosts } from "./hosts.ts";
import { openSession } from "./open_session.ts";
import type { ServerLink } from "./server_link.ts";
import { toldFailure } from "./told_failure.ts";

/** What takes the output of one host. */
export interface HostOutput {
  stdout(bytes: Uint8Array): Promise<void> | void;
  stderr(bytes: Uint8Array): Promise<void> | void;
}

/** What came of it on one host: an exit code, or why there is none. */
export type HostOutcome =
  | { readonly host: string; readonly exitCode: number }
  | { readonly host: string; readonly failure: Failure };

/** What is to be run, and where. */
export interface ManyOptions {
  readonly tag: string;
  readonly command: readonly string[];
  /** On how many hosts at once, from 1 on. */
  readonly parallel: number;
  readonly acceptKey: boolean;
  readonly onNotice: (line: string) => void;
  /** Called when the program begins on a host. */
  readonly outputOf: (host: string) => HostOutput;
  /** Called once for each host, when it is done there; for those that are offline at once. */
  readonly onOutcome: (outcome: HostOutcome) => Promise<void> | void;
  /** Ends all of them; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a program on many hosts; standard input is not passed on. One that fails keeps no other from going on.
 *
 * @returns what came of it on each, in the order of their names
 * @throws {Failure} if no host has the tag, or the link is lost; the signal's reason; whatever the callbacks throw
 */
export async function execOnMany(link: ServerLink, options: ManyOptions): Promise<readonly HostOutcome[]> {
  const { parallel, onOutcome, signal } = options;
  const rows = await taggedHosts(link, options);
  const outcomes: HostOutcome[] = [];
  const tell = async (outcome: HostOutcome): Promise<void> => {
    outcomes.push(outcome);
    await onOutcome(outcome);
  };
  for (const { name } of rows.filter(({ online }) => !online)) {
    await tell({ host: name, failure: offlineHost(name, rows) });
  }
  const waiting = rows.filter(({ online }) => online).map(({ name }) => name);
  const over = new AbortController();
  const every = {
    ...options,
    signal: AbortSignal.any(signal === undefined ? [over.signal] : [over.signal, signal]),
  };
  const worker = async (): Promise<void> => {
    try {
      for (let host = waiting.shift(); host !== undefined; host = waiting.shift()) {
        every.signal.throwIfAborted();
        await tell(await execOnOne(link, host, every));
      }
    } catch (error) {
      // Nobody takes what the others print: they are ended, and waited for, so that their hosts hear of it.
      over.abort(error);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, waiting.length) }, worker));
  every.signal.throwIfAborted();
  return outcomes.sort((a, b) => a.host < b.host ? -1 : 1);
}

async function execOnOne(link: ServerLink, host: string, options: ManyOptions): Promise<HostOutcome> {
  const { command, acceptKey, onNotice, signal } = options;
  try {
    const session = await openSession(link, { host, action: "exec", acceptKey, onNotice, signal });
    try {
      const { stdout, stderr } = options.outputOf(host);
      const exitCode = await exec(session, {
        host,
        command,
        stdin: null,
        onStdout: stdout,
        onStderr: stderr,
        signal,
      });
      return { host, exitCode };
    } finally {
      // Its flow is free for the next host then.
      session.peer.close();
      await session.peer.closed;
    }
  } catch (error) {
    signal?.throwIfAborted();
    const failure = toldFailure(error, host);
    if (failure instanceof Failure) return { host, failure };
    throw failure;
  }
}

async function taggedHosts(link: ServerLink, options: ManyOptions): Promise<readonly HostRow[]> {
  const { tag } = options;
  const all = await listHosts(link, options);
  // Each name once: a server that says one twice would have the program run twice there.
  const rows = [
    ...new Map(all.filter(({ tags }) => tags.includes(tag)).map((row) => [row.name, row])).values(),
  ];
  if (rows.length > 0) return rows;
  const tags = [...new Set(all.flatMap((row) => row.tags))].sort();
  throw new Failure(`no host has the tag ${tag}${didYouMean(tag, tags)}`, {
    hint: tags.length === 0
      ? "the operator of the server gives tags by postern server manage invite host NAME --tag TAG"
      : `the tags there are: ${tags.join(", ")}`,
  });
}
