/** The publisher's part: put the record, renew it at half its lease, withdraw it. */
import type { Timers } from "../timers.ts";
import type { Registration } from "./discovery.ts";
import { formatRecord, type ServiceRecord } from "./record.ts";
import type { RecordStore } from "./record_store.ts";

/** What a publication needs. */
export interface PublicationParts {
  readonly store: RecordStore;
  readonly leaseMs: number;
  readonly timers: Timers;
  readonly wallMs: () => number;
  readonly onProblem: ((error: unknown) => void) | undefined;
}

/**
 * Keeps a record in the store until the registration is disposed of. Each renewal writes the whole record, so that
 * one which was removed by mistake, or with its folder, comes back by itself.
 */
export async function publishRecord(record: ServiceRecord, parts: PublicationParts): Promise<Registration> {
  const { store, leaseMs, timers, wallMs, onProblem } = parts;
  const key = { name: record.name, instance: record.instance };
  let beat = 0;
  let isWithdrawn = false;
  let callOff = (): void => {};
  let renewal: Promise<void> = Promise.resolve();

  async function put(): Promise<void> {
    const renewedAtMs = Math.max(0, Math.round(wallMs()));
    await store.put(key, formatRecord({ record, leaseMs, beat: beat++, renewedAtMs }));
  }

  function renewLater(): void {
    if (isWithdrawn) return;
    callOff = timers.after(leaseMs / 2, () => {
      renewal = put().catch((error: unknown) => onProblem?.(error)).then(renewLater);
    });
  }

  try {
    await put();
  } catch (error) {
    // A part of it may be there. Why that cannot be taken back either is of no use to anyone.
    await store.withdraw(key).catch(() => {});
    throw error;
  }
  renewLater();
  return {
    record,
    async [Symbol.asyncDispose](): Promise<void> {
      if (isWithdrawn) return;
      isWithdrawn = true;
      callOff();
      // A renewal under way would bring the record back.
      await renewal;
      await store.withdraw(key);
    },
  };
}
