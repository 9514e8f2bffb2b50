/**
 * The machine as a doctor sees it: only what looks, nothing that changes. Tests put a made-up one in its place, so
 * that every broken set-up can be had without breaking a real one; `system_machine.ts` is the real one.
 */
import type { IpAddress } from "../../protocol/knock/address.ts";
import type { Program } from "./programs.ts";

export type FileKind = "file" | "folder" | "socket" | "other";

/** What lies at a path; links are followed. */
export interface FileFacts {
  readonly kind: FileKind;
  readonly uid: number;
  readonly gid: number;
  /** The twelve permission bits. */
  readonly mode: number;
  readonly sizeBytes: number;
  /** Of the content, by the machine's clock. */
  readonly modifiedMs: number;
}

export interface ProgramOutput {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface InterfaceAddress {
  readonly device: string;
  readonly ip: IpAddress;
}

/** What came back when a Unix socket was connected to. */
export type Reach = "connected" | "refused" | "busy" | "missing";

/** Answers of a time source. */
export interface TimeReading {
  /** How far the source is ahead of this machine's clock; negative: the machine is ahead. */
  readonly aheadMs: number;
  /** The truth lies within this of `aheadMs`. */
  readonly uncertaintyMs: number;
}

/**
 * Every method throws what the system says (`Deno.errors.PermissionDenied` and the like); what is merely not there is
 * null.
 */
export interface Machine {
  wallMs(): number;
  /** Who looks; null where there are no users. */
  uid(): number | null;
  variable(name: string): string | undefined;
  interfaces(): readonly InterfaceAddress[];
  stat(path: string): Promise<FileFacts | null>;
  /** Names in a folder, sorted. */
  list(path: string): Promise<readonly string[] | null>;
  /** The first `maxBytes` at the most. */
  read(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer> | null>;
  /** Whether some process holds the flock of a file. */
  isLocked(path: string): Promise<boolean | null>;
  lookup(host: string): Promise<readonly IpAddress[]>;
  connectUnix(path: string): Promise<Reach>;
  /** null: there is no such program here. */
  run(program: Program, args: readonly string[]): Promise<ProgramOutput | null>;
  /** @throws {Failure} saying why no time could be had */
  askTime(source: string): Promise<TimeReading>;
}
