/**
 * The figures of each job beside its peers, all taken in one run on one machine, since only ratios travel:
 *
 *   deno task bench [knock|rpc|relay|transfer|manage]... [--json] [--quick] [--only GROUP]...
 *
 * Everything that is measured runs in a network namespace and a process group of its own and in one temporary
 * folder; all of it is gone at the end, also after Ctrl-C.
 */
import { parseArgs } from "node:util";
import { missingFwknop } from "./fwknop.ts";
import { findIsolation, IsolatedProcess, type Isolation } from "./isolation.ts";
import { parseMessage } from "./message.ts";
import { raiseReceiveBuffer, receiveBufferBytes } from "./receive_buffer.ts";
import { type Row, skippedRow } from "./row.ts";
import { formatTable } from "./table.ts";
import { busyPercent } from "./usage.ts";

/** The groups of rows of each job; all have different names. */
const JOBS: Readonly<Record<string, readonly string[]>> = {
  knock: ["start", "built", "latency", "flood", "unthrottled", "sniffed", "memory", "replay"],
  rpc: ["tcp", "unix", "worker", "in-process"],
  relay: ["relay-stream", "relay-crowd"],
  transfer: [
    "transfer-floor",
    "transfer-small",
    "transfer-random",
    "transfer-text",
    "transfer-memory",
    "transfer-resume",
  ],
  manage: ["manage-echo", "manage-exec", "manage-forward", "manage-back", "manage-crowd"],
};
const GROUPS = Object.values(JOBS).flat();
/** Those that the receive buffer decides; they run with the kernel's own size, then with a raised one. */
const FLOODS = ["flood", "unthrottled", "sniffed"] as const;
const USAGE = `usage: deno task bench [${Object.keys(JOBS).join("|")}]... [--json] [--quick] [--only GROUP]...
groups: ${GROUPS.join(", ")}`;
const EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130;
/** Above this, something else is at work on the machine. */
const QUIET_PERCENT = 10;
const INSIDE_PATH = new URL("./inside.ts", import.meta.url).pathname;

interface Options {
  readonly json: boolean;
  readonly quick: boolean;
  readonly groups: readonly string[];
}

/** What must be undone, last first, however the bench ends. */
const cleanup = new AsyncDisposableStack();
/** Set by a signal: from then on nothing new may be begun, for nobody would undo it. */
const stop = new AbortController();

async function main(): Promise<number> {
  const options = readOptions();
  if (options === null) return EXIT_USAGE;
  const folder = await Deno.makeTempDir({ prefix: "postern-bench-" });
  cleanup.defer(() => Deno.remove(folder, { recursive: true }));
  const isolation = await findIsolation();
  if (isolation.missing !== null) say(`${isolation.missing}: everything runs on the machine's own loopback`);
  const run = new Run(options, folder, isolation);
  const busy = await busyPercent();
  if (busy > QUIET_PERCENT) {
    say(`the machine is ${busy} % busy with something else: the figures will show it`);
  }

  await run.groups(options.groups);
  await runWithRaisedBuffer(run, options.groups.filter((name) => FLOODS.some((flood) => flood === name)));
  print(options, run.rows, busy);
  return run.hasFailed ? EXIT_FAILED : 0;
}

function readOptions(): Options | null {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        json: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        only: { type: "string", multiple: true },
      },
    });
    const job = positionals.find((name) => !Object.hasOwn(JOBS, name));
    if (job !== undefined) throw new TypeError(`unknown job "${job}"`);
    const known = positionals.length === 0 ? GROUPS : positionals.flatMap((name) => JOBS[name] ?? []);
    const unknown = values.only?.find((name) => !known.includes(name));
    if (unknown !== undefined) throw new TypeError(`unknown group "${unknown}"`);
    return { json: values.json, quick: values.quick, groups: values.only ?? known };
  } catch (error) {
    say(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    return null;
  }
}

/** Collects the rows of measuring processes. */
class Run {
  readonly rows: Row[] = [];
  hasFailed = false;
  readonly #options: Options;
  readonly #folder: string;
  readonly #isolation: Isolation;
  readonly #fwknopMissing: string | null;

  constructor(options: Options, folder: string, isolation: Isolation) {
    this.#options = options;
    this.#folder = folder;
    this.#isolation = isolation;
    this.#fwknopMissing = missingFwknop(isolation.missing === null);
  }

  async groups(names: readonly string[]): Promise<void> {
    const words = [Deno.execPath(), "run", "-A", INSIDE_PATH, "--folder", this.#folder];
    if (this.#options.quick) words.push("--quick");
    if (this.#fwknopMissing !== null) words.push("--fwknop-missing", this.#fwknopMissing);
    const process = cleanup.use(
      new IsolatedProcess(this.#isolation, [...words, ...names], { TMPDIR: this.#folder }),
    );
    for await (const line of process.lines()) this.#take(line);
    await process[Symbol.asyncDispose]();
    stop.signal.throwIfAborted();
  }

  #take(line: string): void {
    const message = parseMessage(line);
    if (message.kind === "progress") {
      say(`... ${message.line}`);
    } else if (message.kind === "rows") {
      this.rows.push(...message.rows);
    } else {
      this.hasFailed = true;
      say(`${message.group} failed: ${message.error}`);
      this.rows.push(skippedRow(message.group, message.group, `failed: ${message.error}`));
    }
  }
}

/** The floods once more, as on a host that was set up with our sysctl.d file. */
async function runWithRaisedBuffer(run: Run, groups: readonly string[]): Promise<void> {
  if (groups.length === 0) return;
  stop.signal.throwIfAborted();
  say(
    `... raising net.core.rmem_default from ${receiveBufferBytes() ?? "unknown"}, until these rows are done`,
  );
  const raised = raiseReceiveBuffer();
  if (raised === null) {
    const why = "only root may raise net.core.rmem_default";
    for (const group of groups) run.rows.push(skippedRow(group, `${group} with a raised rmem_default`, why));
    return;
  }
  cleanup.use(raised);
  await run.groups(groups.map((group) => group === "unthrottled" ? "unthrottled-raised" : group));
  raised[Symbol.dispose]();
}

function print({ json }: Options, rows: readonly Row[], busy: number): void {
  const machine = {
    deno: Deno.version.deno,
    kernel: Deno.osRelease(),
    cpus: navigator.hardwareConcurrency,
    rmem_default: receiveBufferBytes(),
    busy_percent_before: busy,
  };
  if (json) return write(JSON.stringify({ machine, rows }, null, 2));
  write(
    `${Object.entries(machine).map(([name, value]) => `${name} ${value}`).join(", ")}\n\n${
      formatTable(rows)
    }`,
  );
}

function write(text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.addSignalListener(signal, () => {
    stop.abort();
    // Ends the measuring processes, and with them whatever main() is waiting for.
    void cleanup.disposeAsync().finally(() => Deno.exit(EXIT_INTERRUPTED));
  });
}
let code = EXIT_FAILED;
try {
  code = await main();
} catch (error) {
  // The signal's listener has the rest in hand.
  if (stop.signal.aborted) await new Promise<never>(() => {});
  throw error;
} finally {
  await cleanup.disposeAsync();
}
Deno.exit(code);
