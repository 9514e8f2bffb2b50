/** Records in memory: services of one process, as for the memory transport, and tests. */
import { type Discovery, type DiscoveryOptions, discoveryOver } from "./discovery.ts";
import type { RecordKey, RecordStore, StoredRecord } from "./record_store.ts";

/** Discovery within this process; others see nothing of it. */
export function memoryDiscovery(options: DiscoveryOptions = {}): Discovery {
  return discoveryOver(new MemoryStore(), options);
}

/** A store that ends with the process, so that its owners are gone only when they withdraw. */
export class MemoryStore implements RecordStore {
  readonly #records = new Map<string, StoredRecord>();
  readonly #listeners = new Set<() => void>();
  readonly #owner: StoredRecord["owner"];

  /** An empty one; `owner` is what it says of every record. */
  constructor(owner: StoredRecord["owner"] = "unknown") {
    this.#owner = owner;
  }

  /** Every record of the name. */
  list(name: string): Promise<readonly StoredRecord[]> {
    return Promise.resolve([...this.#records.values()].filter((each) => each.name === name));
  }

  /** Keeps one. */
  put({ name, instance }: RecordKey, text: string): Promise<void> {
    this.#records.set(instance, { name, instance, text, owner: this.#owner });
    return this.#changed();
  }

  /** Forgets one. */
  remove({ instance }: RecordKey): Promise<void> {
    return this.#records.delete(instance) ? this.#changed() : Promise.resolve();
  }

  /** The same as `remove`. */
  withdraw(key: RecordKey): Promise<void> {
    return this.remove(key);
  }

  /** Tells of each change, in its own turn. */
  watch(changed: () => void): () => void {
    const listener = (): void => changed();
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(): Promise<void> {
    for (const listener of this.#listeners) listener();
    return Promise.resolve();
  }
}
