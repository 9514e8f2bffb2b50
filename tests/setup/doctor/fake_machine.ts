/** A machine made of nothing, on which any set-up can be had. It begins healthy: one server, set up by postern. */
import { encodeFloors } from "../../../src/protocol/knock/floors_codec.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { formatKey, type Key } from "../../../src/protocol/knock/key.ts";
import { Failure } from "../../../src/system/failure.ts";
import { folderOf } from "../../../src/system/path.ts";
import type {
  FileFacts,
  FileKind,
  InterfaceAddress,
  Machine,
  ProgramOutput,
  Reach,
  TimeReading,
} from "../../../src/setup/doctor/machine.ts";
import type { Program } from "../../../src/setup/doctor/programs.ts";

export const NOW_MS = Date.parse("2026-11-21T12:00:00Z");
export const SERVER_UID = 998;
export const SERVER_IP = "93.184.216.34";

/** A key of a fixed id; its secret must never be told. */
export function testKey(id: bigint): Key {
  return { id, secret: new Uint8Array(32).fill(Number(id & 0xffn) + 100) };
}

export const USER_KEY = testKey(0x1111n);
export const CHECK_KEY = testKey(0x2222n);

interface Entry {
  kind: FileKind;
  uid: number;
  gid: number;
  mode: number;
  bytes: Uint8Array<ArrayBuffer>;
  modifiedMs?: number;
}

export class FakeMachine implements Machine {
  nowMs = NOW_MS;
  asUid = 0;
  readonly files = new Map<string, Entry>();
  readonly locked = new Set<string>();
  readonly names = new Map<string, readonly string[]>();
  readonly variables = new Map<string, string>();
  addresses: InterfaceAddress[] = [];
  reach: Reach = "connected";
  time: TimeReading | Failure = { aheadMs: 4, uncertaintyMs: 10 };
  /** What programs say, by their name and their first two words; null: not installed. */
  readonly programs = new Map<string, ProgramOutput | null>();

  wallMs(): number {
    return this.nowMs;
  }

  uid(): number {
    return this.asUid;
  }

  variable(name: string): string | undefined {
    return this.variables.get(name);
  }

  interfaces(): readonly InterfaceAddress[] {
    return this.addresses;
  }

  async stat(path: string): Promise<FileFacts | null> {
    this.#enter(path);
    const entry = this.files.get(path);
    if (entry === undefined) return await Promise.resolve(null);
    const { kind, uid, gid, mode, bytes, modifiedMs = NOW_MS - 3_600_000 } = entry;
    return await Promise.resolve({ kind, uid, gid, mode, sizeBytes: bytes.length, modifiedMs });
  }

  async list(path: string): Promise<readonly string[] | null> {
    if (!this.files.has(path)) return await Promise.resolve(null);
    const inside = [...this.files.keys()].filter((each) => folderOf(each) === path && each !== path);
    return await Promise.resolve(inside.map((each) => each.slice(path.length + 1)).sort());
  }

  async read(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer> | null> {
    this.#enter(path);
    const entry = this.files.get(path);
    if (entry === undefined) return await Promise.resolve(null);
    this.#need(path, entry, 0o4);
    return await Promise.resolve(entry.bytes.slice(0, maxBytes));
  }

  async isLocked(path: string): Promise<boolean | null> {
    const entry = this.files.get(path);
    if (entry === undefined) return await Promise.resolve(null);
    this.#need(path, entry, 0o4);
    return await Promise.resolve(this.locked.has(path));
  }

  async lookup(host: string): Promise<ReturnType<typeof parseIp>[]> {
    const found = this.names.get(host);
    if (found === undefined) throw new Error(`getaddrinfo ENOTFOUND ${host}`);
    return await Promise.resolve(found.map(parseIp));
  }

  connectUnix(): Promise<Reach> {
    return Promise.resolve(this.reach);
  }

  run(program: Program, args: readonly string[]): Promise<ProgramOutput | null> {
    const name = program[0].split("/").at(-1) ?? "";
    for (const line of [[name, ...args].join(" "), `${name} ${args.at(-1)}`, `${name} ${args[0]}`, name]) {
      const said = this.programs.get(line);
      if (said !== undefined) return Promise.resolve(said);
    }
    throw new Error(`the test does not say what ${name} ${args.join(" ")} does`);
  }

  askTime(): Promise<TimeReading> {
    return this.time instanceof Failure ? Promise.reject(this.time) : Promise.resolve(this.time);
  }

  says(line: string, stdout: string, code = 0): void {
    this.programs.set(line, { code, stdout: code === 0 ? stdout : "", stderr: code === 0 ? "" : stdout });
  }

  put(path: string, content: string | Uint8Array, [uid, gid, mode]: readonly [number, number, number]): void {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : new Uint8Array(content);
    this.files.set(path, { kind: "file", uid, gid, mode, bytes });
  }

  folder(path: string, [uid, gid, mode]: readonly [number, number, number]): void {
    this.files.set(path, { kind: "folder", uid, gid, mode, bytes: new Uint8Array() });
  }

  socket(path: string, [uid, gid, mode]: readonly [number, number, number]): void {
    this.files.set(path, { kind: "socket", uid, gid, mode, bytes: new Uint8Array() });
  }

  change(path: string, change: Partial<Entry>): void {
    const entry = this.files.get(path);
    if (entry === undefined) throw new Error(`the test has no ${path}`);
    this.files.set(path, { ...entry, ...change });
  }

  edit(path: string, from: string, to: string): void {
    const entry = this.files.get(path);
    const text = new TextDecoder().decode(entry?.bytes);
    if (!text.includes(from)) throw new Error(`the test has no "${from}" in ${path}`);
    this.change(path, { bytes: new TextEncoder().encode(text.replace(from, to)) });
  }

  /** As the kernel does it, for whoever is not root. */
  #enter(path: string): void {
    for (let folder = folderOf(path); folder !== "/"; folder = folderOf(folder)) {
      const entry = this.files.get(folder);
      if (entry !== undefined) this.#need(path, entry, 0o1);
    }
  }

  #need(path: string, entry: Entry, bit: number): void {
    if (this.asUid === 0) return;
    const shift = entry.uid === this.asUid ? 6 : 0;
    if ((entry.mode >> shift & bit) === 0) {
      throw new Deno.errors.PermissionDenied(`Permission denied: ${path}`);
    }
  }
}

const ROOT = [0, 0] as const;
const SERVER = [SERVER_UID, SERVER_UID] as const;

export const CONFIG = `
ips = ["${SERVER_IP}"]
address = "[::]:34020"
blocklist_dir = "/var/lib/postern"
socket_dir = "/run/postern"
commander_state_dir = "/var/lib/postern-commander"
status_file = "/var/lib/postern/status.json"
max_packet_age_seconds = 300
[keys.postern-check]
allow = ["postern_check"]
`;

/** An object that `status.json` is made of. */
export function healthyStatus(nowMs = NOW_MS): Record<string, unknown> {
  return {
    time: new Date(nowMs - 300).toISOString(),
    started_at: new Date(nowMs - 3_600_000).toISOString(),
    address: "[::]:34020",
    received: 12,
    receive_errors: 0,
    refused: { length: 0, replayed: 0 },
    accepted: 12,
    forwarded: 12,
    forward_failures: 0,
    queue_depth: 0,
    uncommitted: 0,
    held: 0,
    contested: false,
    floor_writes: 13,
    floor_write_failures: 0,
    floors_durable: true,
    floor_age_seconds: { user: 60 },
    last_reload: null,
    restart_needed: [],
  };
}

export function floorsAt(entries: readonly (readonly [Key, number])[]): Uint8Array {
  return encodeFloors(new Map(entries.map(([key, ms]) => [key.id, BigInt(ms) * 1_000_000n])));
}

const UNIT = (user: string): string =>
  `LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nUser=${user}\nNRestarts=0\n`;

/** What `client setup` leaves behind, with everything running. */
export function healthyServer(): FakeMachine {
  const machine = new FakeMachine();
  machine.addresses = [
    { device: "lo", ip: parseIp("127.0.0.1") },
    { device: "eth0", ip: parseIp(SERVER_IP) },
    { device: "eth0", ip: parseIp("fe80::1") },
  ];
  for (const path of ["/etc", "/etc/postern", "/var", "/var/lib", "/run", "/run/postern"]) {
    machine.folder(path, [...ROOT, 0o755]);
  }
  machine.folder("/run/systemd/system", [...ROOT, 0o755]);
  machine.put(
    "/etc/passwd",
    `root:x:0:0:root:/root:/bin/bash\npostern:x:${SERVER_UID}:${SERVER_UID}::/:/usr/sbin/nologin\nann:x:1000:1000::/home/ann:/bin/sh\n`,
    [...ROOT, 0o644],
  );
  machine.put("/etc/group", `root:x:0:\npostern:x:${SERVER_UID}:\nann:x:1000:\n`, [...ROOT, 0o644]);
  machine.put("/bin/sh", "", [...ROOT, 0o755]);
  machine.put("/etc/postern/config.toml", CONFIG, [...ROOT, 0o644]);
  machine.put(
    "/etc/postern/commands.toml",
    '[commands]\npostern_check = "true"\nopen_ssh = { cmd = "echo hunter2", undo = "echo hunter2", undo_after_sec = 60 }\n',
    [...ROOT, 0o600],
  );
  machine.put("/etc/postern/user.key", formatKey(USER_KEY), [0, SERVER_UID, 0o640]);
  machine.put("/etc/postern/postern-check.key", formatKey(CHECK_KEY), [0, SERVER_UID, 0o640]);
  machine.folder("/var/lib/postern", [...SERVER, 0o700]);
  machine.put("/var/lib/postern/postern-server.lock", "", [...SERVER, 0o600]);
  machine.locked.add("/var/lib/postern/postern-server.lock");
  machine.put("/var/lib/postern/blocklist.msgpck", floorsAt([[USER_KEY, NOW_MS - 60_000]]), [
    ...SERVER,
    0o600,
  ]);
  machine.put("/var/lib/postern/status.json", JSON.stringify(healthyStatus()), [...SERVER, 0o644]);
  machine.folder("/var/lib/postern-commander", [...ROOT, 0o700]);
  machine.put("/run/postern/commander.lock", "", [...ROOT, 0o600]);
  machine.locked.add("/run/postern/commander.lock");
  machine.socket("/run/postern/ruroco.socket", [...SERVER, 0o204]);
  machine.says("systemctl postern-server.service", UNIT("postern"));
  machine.says("systemctl postern-commander.service", UNIT(""));
  machine.says("ss", serverSocket());
  machine.says("nft", "");
  machine.says(
    "df -Pk",
    "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 1 99000000 1% /\n",
  );
  machine.says("df -Pi", "Filesystem Inodes IUsed IFree IUse% Mounted on\n/dev/vda 100 1 99 1% /\n");
  machine.says("cat /proc/sys/net/core/rmem_default", "8388608\n");
  machine.says("cat /proc/sys/net/ipv6/bindv6only", "0\n");
  return machine;
}

/** What `ss` says of the server. */
export function serverSocket(
  change: { host?: string; name?: string; uid?: string; buffer?: number; drops?: number } = {},
): string {
  const { host = "*", name = "postern-server", uid = ` uid:${SERVER_UID}`, buffer = 8_388_608, drops = 0 } =
    change;
  return `UNCONN 0      0              ${host}:34020       *:* users:(("${name}",pid=77,fd=21))${uid} ino:1 sk:2 cgroup:/ v6only:0 <->\n` +
    `\t skmem:(r0,rb${buffer},t0,tb212992,f0,w0,o0,bl0,d${drops})\n`;
}

/** A machine that knocks, as its user ann. */
export function healthyClient(): FakeMachine {
  const machine = new FakeMachine();
  const ann = [1000, 1000] as const;
  machine.asUid = 1000;
  machine.addresses = [{ device: "eth0", ip: parseIp("192.168.1.7") }];
  machine.variables.set("HOME", "/home/ann");
  machine.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n", [
    ...ROOT,
    0o644,
  ]);
  machine.put("/etc/group", "root:x:0:\nann:x:1000:\n", [...ROOT, 0o644]);
  machine.folder("/home/ann/.config/postern", [...ann, 0o700]);
  machine.put("/home/ann/.config/postern/client.lock", "", [...ann, 0o600]);
  machine.put("/home/ann/.config/postern/counter", counterAt(NOW_MS - 1000), [...ann, 0o600]);
  machine.put("/home/ann/user.key", formatKey(USER_KEY), [...ann, 0o600]);
  machine.names.set("host.example", [SERVER_IP]);
  machine.says("ip -4", `${SERVER_IP} via 192.168.1.1 dev eth0 src 192.168.1.7 uid 1000\n    cache\n`);
  machine.says("ip -6", "RTNETLINK answers: Network is unreachable\n", 2);
  return machine;
}

export function counterAt(ms: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setBigUint64(8, BigInt(ms) * 1_000_000n);
  return bytes;
}
