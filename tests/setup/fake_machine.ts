/** A machine in memory: a tree of files, accounts, and a systemd that starts what is there. */
import { createHash } from "node:crypto";
import type { Machine, MachineActs, Owner, ProgramResult, Trial } from "../../src/setup/machine.ts";
import {
  DF,
  GROUPADD,
  GROUPDEL,
  JOURNALCTL,
  SYSCTL,
  SYSTEMCTL,
  SYSUSERS,
  USERDEL,
} from "../../src/setup/programs.ts";
import { SHELL } from "../../src/setup/update/child_program.ts";
import type { Recovery } from "../../src/setup/update/recover.ts";
import type { StatusCounts } from "../../src/setup/status_counts.ts";
import { Failure } from "../../src/system/failure.ts";

interface Node {
  readonly mode: number;
  readonly owner: Owner;
  /** null: a folder. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  /** Neither file nor folder: a pipe. */
  readonly isFifo?: boolean;
  /** Of a link. */
  readonly target?: string;
}

const ROOT: Owner = { uid: 0, gid: 0 };
const SERVICE_ID = 997;
const UNIT_DIR = "/etc/systemd/system";
const PASSWD = "root:x:0:0:root:/root:/bin/sh\n";
const GROUP = "root:x:0:\n";

/** The names of everything that changes something. */
const ACTS: readonly (keyof MachineActs)[] = [
  "makeFolder",
  "writeFile",
  "rename",
  "link",
  "copy",
  "deriveRole",
  "remove",
  "removeTree",
  "run",
  "tryBeside",
  "prove",
  "lock",
];

export class Crash extends Error {}

export class FakeMachine implements Machine {
  nodes = new Map<string, Node>();
  /** Of each running unit, the content of its executable when it was started. */
  running = new Map<string, string>();
  /** Every act, in order, as `name path`. */
  readonly acts: string[] = [];
  id = 0;
  wallMs = Date.parse("2026-06-01T00:00:00Z");
  /** How often a broken update was looked for. */
  settled = 0;
  isTaken = false;
  availableBytes = 1e12;
  interfaces: Deno.NetworkInterfaceInfo[] = [];
  /** Contents of executables that end right after their start, or do not knock. */
  readonly broken = new Set<string>();
  /** What the file that executables are made from holds. */
  version = "1";
  /** The act (from 0) that fails, and whether everything after it fails too: a machine that lost its power. */
  fault: { at: number; isCrash: boolean } | null = null;
  /** Whether the crash has come. */
  isDead = false;
  #startedAtMs = 0;

  constructor() {
    for (
      const path of [
        "/",
        "/etc",
        `${UNIT_DIR}`,
        "/etc/systemd",
        "/usr",
        "/usr/bin",
        "/usr/local",
        "/usr/local/bin",
      ]
    ) this.folder(path);
    for (
      const path of ["/var", "/var/lib", "/var/cache", "/run", "/run/systemd", "/run/systemd/system", "/root"]
    ) {
      this.folder(path);
    }
    for (const program of [SYSUSERS, SYSTEMCTL]) this.file(program, "");
    this.file("/etc/passwd", PASSWD);
    this.file("/etc/group", GROUP);
    this.file("/root/postern-setup", "self-extracting");
    return new Proxy(this, { get: (target, name) => target.#guarded(name) });
  }

  folder(path: string): void {
    this.nodes.set(path, { mode: 0o755, owner: ROOT, bytes: null });
  }

  file(path: string, text: string): void {
    this.nodes.set(path, { mode: 0o644, owner: ROOT, bytes: new TextEncoder().encode(text) });
  }

  text(path: string): string | null {
    const bytes = this.nodes.get(path)?.bytes;
    return bytes === undefined || bytes === null ? null : new TextDecoder().decode(bytes);
  }

  /** Changes facts of what is there. */
  change(path: string, facts: Partial<Node>): void {
    this.nodes.set(path, { ...this.#node(path), ...facts });
  }

  symlink(path: string, target: string): void {
    this.nodes.set(path, { mode: 0o777, owner: ROOT, bytes: new Uint8Array(), target });
  }

  /** The whole tree, comparable. */
  tree(): Record<string, string> {
    return Object.fromEntries(
      [...this.nodes].sort(([a], [b]) => a < b ? -1 : 1).map(([path, { mode, owner, bytes }]) => [
        path,
        `${mode.toString(8)} ${owner.uid}:${owner.gid} ${
          bytes === null ? "folder" : createHash("sha256").update(bytes).digest("hex")
        }`,
      ]),
    );
  }

  /** Power is back: nothing runs but what is enabled. */
  reboot(): void {
    this.fault = null;
    this.isDead = false;
  }

  /** Acts go through here, so that each can be made to fail. */
  #guarded(name: string | symbol): unknown {
    const value: unknown = Reflect.get(this, name);
    if (typeof value !== "function") return value;
    if (!ACTS.some((act) => act === name)) return value.bind(this);
    return (...args: unknown[]) => {
      if (this.isDead) throw new Crash("the power is off");
      const at = this.acts.length;
      this.acts.push([String(name), ...args.flat().filter((each) => typeof each === "string")].join(" "));
      if (this.fault?.at === at) {
        if (this.fault.isCrash) {
          this.isDead = true;
          throw new Crash("the power went off");
        }
        throw new Error("injected");
      }
      return Reflect.apply(value, this, args);
    };
  }

  makeFolder(path: string, mode: number, owner: Owner): Promise<void> {
    this.#requireParent(path);
    if (this.nodes.has(path)) throw new Deno.errors.AlreadyExists(path);
    this.nodes.set(path, { mode, owner, bytes: null });
    return Promise.resolve();
  }

  writeFile(path: string, bytes: Uint8Array, mode: number, owner: Owner): Promise<void> {
    this.#requireParent(path);
    this.nodes.set(path, { mode, owner, bytes: new Uint8Array(bytes) });
    return Promise.resolve();
  }

  rename(from: string, to: string): Promise<void> {
    this.nodes.set(to, this.#node(from));
    this.nodes.delete(from);
    return Promise.resolve();
  }

  link(from: string, to: string): Promise<void> {
    if (this.nodes.has(to)) throw new Deno.errors.AlreadyExists(to);
    this.nodes.set(to, this.#node(from));
    return Promise.resolve();
  }

  copy(from: string, to: string, mode: number): Promise<void> {
    this.nodes.set(to, { ...this.#node(from), mode });
    return Promise.resolve();
  }

  deriveRole(_from: string, role: string, to: string, mode: number): Promise<void> {
    this.#requireParent(to);
    const bytes = new TextEncoder().encode(`${role} ${this.version}`);
    this.nodes.set(to, { mode, owner: ROOT, bytes });
    return Promise.resolve();
  }

  isCompiled(_path: string): Promise<boolean> {
    return Promise.resolve(false);
  }

  isSelfExtracting(path: string): Promise<boolean> {
    return Promise.resolve(this.text(path)?.startsWith("self-extracting") ?? false);
  }

  remove(path: string): Promise<void> {
    if ([...this.nodes.keys()].some((each) => each.startsWith(`${path}/`))) {
      throw new Error(`${path} is not empty`);
    }
    this.nodes.delete(path);
    return Promise.resolve();
  }

  removeTree(path: string): Promise<void> {
    for (const each of [...this.nodes.keys()]) {
      if (each === path || each.startsWith(`${path}/`)) this.nodes.delete(each);
    }
    return Promise.resolve();
  }

  stat(path: string): Promise<Deno.FileInfo | null> {
    const node = this.nodes.get(path);
    if (node === undefined) return Promise.resolve(null);
    const { mode, owner: { uid, gid }, isFifo = false, target, bytes } = node;
    const isSymlink = target !== undefined;
    const isDirectory = bytes === null;
    const isFile = !isDirectory && !isFifo && !isSymlink;
    return Promise.resolve(
      { isDirectory, isFile, isFifo, isSymlink, mode, uid, gid, size: bytes?.length ?? 0 } as Deno.FileInfo,
    );
  }

  async follow(path: string): Promise<Deno.FileInfo | null> {
    const real = await this.realPath(path);
    return real === null ? null : await this.stat(real);
  }

  realPath(path: string): Promise<string | null> {
    const target = this.nodes.get(path)?.target ?? path;
    return Promise.resolve(this.nodes.has(target) ? target : null);
  }

  read(path: string): Promise<Uint8Array<ArrayBuffer> | null> {
    const node = this.nodes.get(this.nodes.get(path)?.target ?? path);
    if (node === undefined) return Promise.resolve(null);
    if (node.bytes === null || node.isFifo === true) {
      throw new Failure(`could not read ${path}: no regular file`);
    }
    return Promise.resolve(node.bytes);
  }

  async sha256(path: string): Promise<string> {
    const bytes = await this.read(path);
    return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes ?? new Uint8Array())).toHex();
  }

  list(path: string): Promise<string[]> {
    const prefix = `${path}/`;
    const below = [...this.nodes.keys()].filter((each) => each.startsWith(prefix));
    return Promise.resolve(
      below.map((each) => each.slice(prefix.length)).filter((name) => !name.includes("/")).sort(),
    );
  }

  uid(): number {
    return this.id;
  }

  nowMs(): number {
    return this.wallMs;
  }

  settleUpdate(): Promise<Recovery | null> {
    this.settled++;
    return Promise.resolve(null);
  }

  networkInterfaces(): Deno.NetworkInterfaceInfo[] {
    return this.interfaces;
  }

  isPortFree(): boolean {
    return !this.isTaken;
  }

  statusCounts(): Promise<StatusCounts | null> {
    const counts = { startedAtMs: this.#startedAtMs } as StatusCounts;
    return Promise.resolve(this.running.has("postern-server.service") ? counts : null);
  }

  lock(path: string): Promise<Disposable> {
    this.file(path, "");
    return Promise.resolve({ [Symbol.dispose]: () => {} });
  }

  tryBeside({ serverPath, commanderPath }: Pick<Trial, "serverPath" | "commanderPath">): Promise<void> {
    for (const path of [serverPath, commanderPath]) {
      if (this.broken.has(this.text(path) ?? "")) {
        throw new Failure("the trial failed");
      }
    }
    return Promise.resolve();
  }

  prove(): Promise<void> {
    const isRunning = ["server", "commander"].every((role) => this.running.has(`postern-${role}.service`));
    if (!isRunning || this.text("/etc/postern/postern-check.key") === null) {
      throw new Failure("no knock works");
    }
    return Promise.resolve();
  }

  ask(program: string, args: readonly string[]): Promise<ProgramResult> {
    if (program === DF) return said(`Avail\n${this.availableBytes}\n`);
    if (program === JOURNALCTL) return said("error: broken build\n");
    const [verb = "", ...rest] = args.filter((word) => !word.startsWith("--"));
    const unit = rest.at(-1) ?? "";
    const isActive = this.running.has(unit);
    if (verb === "is-active") return said(isActive ? "active" : "inactive");
    if (verb === "is-enabled") return said(this.nodes.has(wantedPath(unit)) ? "enabled" : "disabled");
    if (verb === "show") {
      return said(
        `LoadState=loaded\nNeedDaemonReload=no\nActiveState=${
          isActive ? "active" : "failed"
        }\nSubState=running\n`,
      );
    }
    throw new Error(`${program} ${args.join(" ")} asks for nothing known`);
  }

  run(program: string, args: readonly string[]): Promise<ProgramResult> {
    switch (program) {
      case SYSUSERS:
        this.#account(
          "/etc/passwd",
          `postern:x:${SERVICE_ID}:${SERVICE_ID}::/nonexistent:/usr/sbin/nologin\n`,
        );
        this.#account("/etc/group", `postern:x:${SERVICE_ID}:\n`);
        return said("");
      case USERDEL:
        this.#account("/etc/passwd", null);
        // USERGROUPS_ENAB of login.defs, as Debian has it.
        if (/^postern:x:[0-9]+:$/m.test(this.text("/etc/group") ?? "")) this.#account("/etc/group", null);
        return said("");
      case GROUPDEL:
        this.#account("/etc/group", null);
        return said("");
      case GROUPADD:
        this.#account("/etc/group", `postern:x:${args.at(-2)}:\n`);
        return said("");
      case SYSCTL:
        return said("");
      case SHELL:
        this.folder("/var/cache/postern/runtime");
        return said("");
      case SYSTEMCTL:
        return this.#systemctl(args.filter((word) => !word.startsWith("--")));
    }
    throw new Error(`${program} is not known here`);
  }

  /** Adds the line of the account unless there is one, or removes it. */
  #account(path: string, line: string | null): void {
    const text = this.text(path) ?? "";
    const isThere = /^postern:/m.test(text);
    if (line === null) this.file(path, text.replace(/^postern:.*\n/m, ""));
    else if (!isThere) this.file(path, text + line);
  }

  #systemctl([verb = "", ...units]: readonly string[]): Promise<ProgramResult> {
    for (const unit of units) {
      if (verb === "enable") this.file(wantedPath(unit), "");
      if (verb === "disable") this.nodes.delete(wantedPath(unit));
      if (verb === "stop" || verb === "restart") this.running.delete(unit);
      if (verb !== "start" && verb !== "restart") continue;
      const content = this.text(`/usr/local/bin/${unit.replace(".service", "")}`);
      if (content === null || !this.nodes.has(`${UNIT_DIR}/${unit}`)) return said("", 5);
      this.#startedAtMs = Date.now();
      if (!this.broken.has(content)) this.running.set(unit, content);
    }
    return said("");
  }

  #node(path: string): Node {
    const node = this.nodes.get(path);
    if (node === undefined) throw new Deno.errors.NotFound(path);
    return node;
  }

  #requireParent(path: string): void {
    this.#node(path.slice(0, path.lastIndexOf("/")) || "/");
  }
}

function wantedPath(unit: string): string {
  return `${UNIT_DIR}/${unit}.wanted`;
}

function said(stdout: string, code = 0): Promise<ProgramResult> {
  return Promise.resolve({ code, stdout, stderr: "" });
}
