/**
 * Services in the Windows registry, through reg.exe, from Windows and from Linux inside of it (WSL):
 *
 *   HKCU\Software\Postern\Services\MATH
 *       <instance>    REG_SZ    <the record's text, base64url>
 *
 * Base64url, because the text then needs no quoting on any command line on the way and comes back the same in every
 * code page. reg.exe gives no notice of changes and knows no owners: changes are polled for, and the lease alone
 * tells who is dead.
 */
import { type Discovery, type DiscoveryOptions, discoveryOver } from "../protocol/rpc/discovery/discovery.ts";
import { isInstance, MAX_RECORD_CHARACTERS } from "../protocol/rpc/discovery/record.ts";
import {
  DiscoveryError,
  type RecordKey,
  type RecordStore,
  type StoredRecord,
} from "../protocol/rpc/discovery/record_store.ts";
import { describeError } from "../system/failure.ts";
import { thisProcess } from "./this_process.ts";

/** What may be said about services in the registry. */
export interface RegistryDiscoveryOptions extends DiscoveryOptions {
  /** Program and first arguments. @default ["reg.exe"] */
  readonly command?: readonly [string, ...string[]] | undefined;
  /** How often is looked for changes, milliseconds. @default 1000 */
  readonly pollMs?: number | undefined;
  /** How long one run of the program may take, milliseconds; then it is killed. @default 10000 */
  readonly timeoutMs?: number | undefined;
}

/** Discovery between Windows and the Linux inside of it, for one user. Needs `--allow-run=reg.exe`. */
export function registryDiscovery(options: RegistryDiscoveryOptions = {}): Discovery {
  return discoveryOver(new RegistryStore(options), { owner: thisProcess(), ...options });
}

const SERVICES_KEY = "HKCU\\Software\\Postern\\Services";
const DEFAULT_POLL_MS = 1_000,
  DEFAULT_TIMEOUT_MS = 10_000;
/** A value as `reg query` shows it: four spaces before each of name, type and data. */
const VALUE_LINE = /^ {4}([0-9a-f]{32}) {4}REG_SZ {4}([A-Za-z0-9_-]*)\r?$/;
/** Longest base64url of a record. */
const MAX_DATA_CHARACTERS = Math.ceil(MAX_RECORD_CHARACTERS * 4 / 3);

class RegistryStore implements RecordStore {
  readonly #command: readonly [string, ...string[]];
  readonly #pollMs: number;
  readonly #timeoutMs: number;

  constructor(options: RegistryDiscoveryOptions) {
    this.#command = options.command ?? ["reg.exe"];
    this.#pollMs = options.pollMs ?? DEFAULT_POLL_MS;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  async list(name: string): Promise<readonly StoredRecord[]> {
    const { success, stdout } = await this.#run("query", keyOf(name));
    // It tells a missing key by the code 1, as it does any failure, and by words in the language of the machine.
    if (!success) return [];
    return stdout.split("\n").flatMap((line) => {
      const [, instance, data = ""] = VALUE_LINE.exec(line) ?? [];
      const text = decodeText(data);
      return instance === undefined || text === null ? [] : [{ name, instance, text, owner: "unknown" }];
    });
  }

  async put({ name, instance }: RecordKey, text: string): Promise<void> {
    const data = new TextEncoder().encode(text).toBase64({ alphabet: "base64url", omitPadding: true });
    const args = ["add", keyOf(name), "/v", instance, "/t", "REG_SZ", "/d", data, "/f"];
    const { success, code } = await this.#run(...args);
    if (!success) {
      throw new DiscoveryError("store", `cannot publish "${name}": reg.exe add ended with ${code}`);
    }
  }

  async remove({ name, instance }: RecordKey): Promise<void> {
    // The key stays, empty: deleting it could take a record that is put in the same moment. A value that is not
    // there any more makes reg.exe fail too, so its code says nothing.
    if (isInstance(instance)) await this.#run("delete", keyOf(name), "/v", instance, "/f");
  }

  withdraw(key: RecordKey): Promise<void> {
    return this.remove(key);
  }

  watch(changed: () => void): () => void {
    const timer = setInterval(changed, this.#pollMs);
    return () => clearInterval(timer);
  }

  async #run(...args: readonly string[]): Promise<{ success: boolean; code: number; stdout: string }> {
    const [program, ...first] = this.#command;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), this.#timeoutMs);
    try {
      const { success, code, stdout } = await new Deno.Command(program, {
        args: [...first, ...args],
        stdin: "null",
        stdout: "piped",
        stderr: "null",
        signal: limit.signal,
      }).output();
      if (limit.signal.aborted) throw new Error(`it did not end within ${this.#timeoutMs} ms`);
      return { success, code, stdout: new TextDecoder().decode(stdout) };
    } catch (error) {
      throw new DiscoveryError("store", `cannot run ${program}: ${describeError(error)}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

function keyOf(name: string): string {
  // A service name has no backslash, so this is a key right below.
  return `${SERVICES_KEY}\\${name}`;
}

function decodeText(data: string): string | null {
  if (data === "" || data.length > MAX_DATA_CHARACTERS) return null;
  try {
    const bytes = Uint8Array.fromBase64(data, { alphabet: "base64url" });
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
