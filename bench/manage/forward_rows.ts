/** Bulk through one forwarded port, each direction by itself, beside `ssh -L`; and what of the processor that takes. */
import type { GroupContext } from "../group.ts";
import { median } from "../quantile.ts";
import { type Beside, makeRow, ratioAtLeast, type Row, skippedRow } from "../row.ts";
import { holdsWithin } from "../sleep.ts";
import { freeTcpPort, isTcpPortTaken } from "../tcp_port.ts";
import { cpuSeconds, treeCpuSeconds } from "../usage.ts";
import { missingOpenSsh, OpenSsh } from "./open_ssh.ts";
import { PosternManage } from "./postern.ts";
import { missingPrograms, runPython } from "./python.ts";

const GROUP = "manage-forward";
const MIB = 2 ** 20, GIB = 2 ** 30;
const BYTES_PER_MB = 1e6;
const BYTES = GIB, QUICK_BYTES = 64 * MIB;
const TURNS = 5, QUICK_TURNS = 1;
const START_MS = 5000;
const DIRECTIONS = ["up", "down"] as const;
const ENDS_PATH = new URL("./ends.py", import.meta.url).pathname;

type Direction = (typeof DIRECTIONS)[number];

/** A forward that stands. */
interface Subject {
  readonly name: string;
  /** Leads to `targetPort`. */
  readonly port: number;
  readonly targetPort: number;
  /** CPU seconds so far of each of its processes, by what it is. */
  readonly cpu: () => Readonly<Record<string, number>>;
}

interface Figures {
  readonly seconds: number;
  /** Of each process. */
  readonly cpu: Readonly<Record<string, number>>;
}

/** Both in turns, so that what else happens on the machine hits both. */
export async function measureForward(context: GroupContext): Promise<Row[]> {
  const missing = await missingPrograms("python3");
  if (missing !== null) return [skippedRow(GROUP, "bulk through a forward", missing)];
  const sshMissing = await missingOpenSsh();
  await using owned = new AsyncDisposableStack();
  const ours = await forwardOfPostern(owned);
  const peers = sshMissing === null ? [await forwardOfSsh(owned, context.folder)] : [];
  const [turns, bytes] = context.isQuick ? [QUICK_TURNS, QUICK_BYTES] : [TURNS, BYTES];
  const runs = new Map<string, Figures[]>();
  for (let turn = 1; turn <= turns; turn++) {
    for (const direction of DIRECTIONS) {
      for (const subject of [ours, ...peers]) {
        context.progress(`${GROUP}: turn ${turn} of ${turns}, ${direction}, ${subject.name}`);
        const key = `${subject.name} ${direction}`;
        runs.set(key, [...runs.get(key) ?? [], await run(subject, direction, bytes)]);
      }
    }
  }
  const peer = sshMissing === null ? { name: "ssh -L" } : { name: "ssh -L", missing: sshMissing };
  return DIRECTIONS.flatMap((direction) =>
    rowsOf(direction, bytes, runs.get(`${ours.name} ${direction}`) ?? [], {
      ...peer,
      runs: runs.get(`ssh ${direction}`) ?? [],
    })
  );
}

function rowsOf(
  direction: Direction,
  bytes: number,
  ours: readonly Figures[],
  { runs, ...peer }: { readonly name: string; readonly missing?: string; readonly runs: readonly Figures[] },
): Row[] {
  const way = direction === "up" ? "to the host" : "from the host";
  const beside = (of: (figures: Figures) => number): Beside => ({ ...peer, value: median(runs.map(of)) });
  const rate = ({ seconds }: Figures): number => bytes / BYTES_PER_MB / seconds;
  const cpu = (figures: Figures): number => totalCpu(figures) * GIB / bytes;
  return [
    makeRow({
      group: GROUP,
      figure: `${bytes / MIB} MiB through a forward, ${way}`,
      unit: "MB/s",
      ours: median(ours.map(rate)),
      beside: [beside(rate)],
      goal: ratioAtLeast(1),
      note: `median of ${ours.length} in turns`,
    }),
    makeRow({
      group: GROUP,
      figure: `CPU time of all that takes part, for 1 GiB ${way}`,
      unit: "s",
      ours: median(ours.map(cpu)),
      beside: [beside(cpu)],
      note: `${split(ours, bytes)}; ssh: ${split(runs, bytes)}`,
    }),
  ];
}

/** All processes together. */
export function totalCpu({ cpu }: Pick<Figures, "cpu">): number {
  return Object.values(cpu).reduce((sum, each) => sum + each, 0);
}

/** Medians of each process, for people. */
function split(runs: readonly Figures[], bytes: number): string {
  return Object.keys(runs[0]?.cpu ?? {}).map((name) => {
    const seconds = median(runs.map(({ cpu }) => cpu[name] ?? 0)) ?? 0;
    return `${name} ${(seconds * GIB / bytes).toFixed(2)} s`;
  }).join(", ");
}

async function run(subject: Subject, direction: Direction, bytes: number): Promise<Figures> {
  const before = subject.cpu();
  const words = [direction, `${subject.port}`, `${subject.targetPort}`, `${bytes}`];
  const seconds = Number(await runPython(ENDS_PATH, words));
  const cpu = Object.fromEntries(
    Object.entries(subject.cpu()).map(([name, used]) => [name, used - (before[name] ?? 0)]),
  );
  return { seconds, cpu };
}

async function forwardOfPostern(owned: AsyncDisposableStack): Promise<Subject> {
  const postern = owned.use(await PosternManage.start());
  const targetPort = freeTcpPort();
  const { process, port } = await postern.forward(targetPort);
  owned.use(process);
  const cpu = (): Record<string, number> => ({
    client: cpuSeconds(process.pid),
    server: cpuSeconds(postern.serverPid),
    agent: cpuSeconds(postern.agent.pid),
  });
  return { name: "postern", port, targetPort, cpu };
}

async function forwardOfSsh(owned: AsyncDisposableStack, folder: string): Promise<Subject> {
  const ssh = owned.use(await OpenSsh.start(folder));
  const targetPort = freeTcpPort(), port = freeTcpPort();
  const [program, ...args] = ssh.words(["-N", "-L", `127.0.0.1:${port}:127.0.0.1:${targetPort}`]);
  const client = new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
  owned.defer(async () => {
    client.kill("SIGTERM");
    await client.status;
  });
  if (!await holdsWithin(START_MS, () => isTcpPortTaken(port))) throw new Error("ssh -L does not listen");
  const cpu = (): Record<string, number> => ({
    client: cpuSeconds(client.pid),
    sshd: treeCpuSeconds(ssh.serverPid),
  });
  return { name: "ssh", port, targetPort, cpu };
}
