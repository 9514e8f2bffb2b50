/** The folder of a server that runs nowhere, with its registry, and a clock that stands until it is moved. */
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { type DataFolder, dataFolder } from "../../../src/server/manage/data_folder.ts";
import { initServer } from "../../../src/server/manage/init.ts";
import { type MemberRole, Registry } from "../../../src/server/manage/registry.ts";
import type { Clock } from "../../../src/system/clock.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

/** 2026-11-21. */
const START_MS = 1_795_219_200_000;
const HASH_BYTES = 32;
export const HOUR_MS = 3_600_000;

export class StandingClock implements Clock {
  nowMs = START_MS;

  wallMs(): number {
    return this.nowMs;
  }

  wallNs(): bigint {
    return BigInt(this.nowMs) * 1_000_000n;
  }

  monotonicMs(): number {
    return this.nowMs;
  }
}

export class RegistryGround implements AsyncDisposable {
  readonly folder: DataFolder;
  readonly clock: StandingClock;
  registry: Registry;
  readonly #temporary: TempFolder;

  private constructor(temporary: TempFolder, folder: DataFolder, clock: StandingClock, registry: Registry) {
    this.#temporary = temporary;
    this.folder = folder;
    this.clock = clock;
    this.registry = registry;
  }

  static async make(): Promise<RegistryGround> {
    const temporary = await TempFolder.make("registry");
    const clock = new StandingClock();
    const { folder } = await initServer({
      folder: `${temporary.path}/data`,
      addresses: ["manage.example:7022", "[2001:db8::1]:7022"],
      clock,
    });
    return new RegistryGround(temporary, folder, clock, await Registry.open(folder, { clock }));
  }

  /** Another program that has the registry open. */
  async another(): Promise<Registry> {
    return await Registry.open(this.folder, { clock: this.clock });
  }

  /** An invitation; gives the hash of its secret. */
  invite(
    name: string,
    options: { role?: MemberRole; tags?: readonly string[] | null; replaces?: boolean; lifeMs?: number } = {},
  ): Uint8Array<ArrayBuffer> {
    const { role = "host", tags = [], replaces = false, lifeMs = HOUR_MS } = options;
    const secretHash = systemRandomBytes(HASH_BYTES);
    this.registry.createInvite({
      role,
      name,
      tags,
      replaces,
      expiresMs: this.clock.nowMs + lifeMs,
      secretHash,
    });
    return secretHash;
  }

  /** A member that has joined; gives its key. */
  join(name: string, role: MemberRole = "host", tags: readonly string[] = []): Uint8Array<ArrayBuffer> {
    const key = systemRandomBytes(HASH_BYTES);
    const secretHash = this.invite(name, { role, tags: role === "host" ? tags : [] });
    const bound = this.registry.bindToken({ secretHash, role, key, address: "192.0.2.1:5" });
    if ("refused" in bound) throw new Error(bound.text);
    return key;
  }

  /** Events of the audit from a row on. */
  events(from = 1): string[] {
    return this.rows(from).map(({ event }) => event);
  }

  rows(from = 1): ReturnType<Registry["audit"]["rows"]> {
    return this.registry.audit.rows({ limit: 1_000_000 }).filter(({ number }) => number >= from);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.registry.close();
    await this.#temporary[Symbol.asyncDispose]();
  }
}

/** The places in a folder that nobody has initialised. */
export function placesIn(temporary: TempFolder): DataFolder {
  return dataFolder(`${temporary.path}/data`);
}

/** A new public key, which somebody could have. */
export async function publicKey(): Promise<Uint8Array<ArrayBuffer>> {
  return (await SigningKey.generate(systemRandomBytes)).publicKey;
}
