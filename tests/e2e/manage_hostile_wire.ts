/** A session as it passes through a server that is not honest: record by record, kept, and changed at will. */
import type { FlowConnection } from "../../src/protocol/manage/flow_connection.ts";
import { joinBytes } from "../../src/protocol/manage/byte_fields.ts";
import { RECORD_LENGTH_BYTES, recordLength } from "../../src/protocol/record/record.ts";

const READ_BYTES = 64 * 1024;

/** Where a record can be sent. */
export interface Ways {
  /** To where it was going. */
  readonly on: (record: Uint8Array) => Promise<void>;
  /** To where it came from. */
  readonly back: (record: Uint8Array) => Promise<void>;
  /** Ends the flow in its direction, as if whoever wrote the records had come to an end. */
  readonly end: () => Promise<void>;
}

/** What becomes of a record; `index` counts them from 0, in their direction. */
export type Tamper = (record: Uint8Array<ArrayBuffer>, index: number, ways: Ways) => Promise<void>;

/** Both flows of a session, and what is done to it. */
export interface WireOptions {
  readonly host: FlowConnection;
  readonly admin: FlowConnection;
  /** What the host answered the open with. */
  readonly answer: Uint8Array<ArrayBuffer>;
  readonly toHost: Tamper | undefined;
  readonly toAdmin: Tamper | undefined;
  /** Whether the host is not told when the administrator has gone. */
  readonly keepsHost: boolean;
}

/** The session. */
export class HostileWire {
  readonly host: FlowConnection;
  readonly admin: FlowConnection;
  readonly answer: Uint8Array<ArrayBuffer>;
  /** All records, as they came. */
  readonly toHost: Uint8Array<ArrayBuffer>[] = [];
  readonly toAdmin: Uint8Array<ArrayBuffer>[] = [];
  readonly #tampers: Pick<WireOptions, "toHost" | "toAdmin" | "keepsHost">;

  constructor(options: WireOptions) {
    this.host = options.host;
    this.admin = options.admin;
    this.answer = options.answer;
    this.#tampers = options;
  }

  /** Carries both ways until both are over; never rejects. */
  async carry(): Promise<void> {
    const { host, admin } = this;
    await Promise.all([
      this.#copy(admin, host, this.toHost, this.#tampers.toHost ?? passOn),
      this.#copy(host, admin, this.toAdmin, this.#tampers.toAdmin ?? passOn),
    ]);
  }

  /** Cuts it off. */
  cut(): void {
    this.host.reset("lost", "the server lost it");
    this.admin.reset("lost", "the server lost it");
  }

  async #copy(
    from: FlowConnection,
    to: FlowConnection,
    kept: Uint8Array<ArrayBuffer>[],
    tamper: Tamper,
  ): Promise<void> {
    const ways = {
      on: (record: Uint8Array): Promise<void> => to.write(record),
      back: (record: Uint8Array): Promise<void> => from.write(record),
      end: (): Promise<void> => to.closeWrite(),
    };
    try {
      for await (const record of records(from)) await tamper(record, kept.push(record) - 1, ways);
      if (!this.#tampers.keepsHost) await to.closeWrite();
    } catch {
      if (this.#tampers.keepsHost) return;
      const { code, message } = from.failure ?? to.failure ??
        { code: "lost", message: "the other side is gone" };
      to.reset(code, message);
      from.reset(code, message);
    }
  }
}

async function* records(from: FlowConnection): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(READ_BYTES);
  let waiting = new Uint8Array(0);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    waiting = joinBytes(waiting, buffer.subarray(0, count));
    while (waiting.length > RECORD_LENGTH_BYTES) {
      const bytes = RECORD_LENGTH_BYTES + recordLength(waiting.subarray(0, RECORD_LENGTH_BYTES));
      if (waiting.length < bytes) break;
      yield waiting.slice(0, bytes);
      waiting = waiting.slice(bytes);
    }
  }
}

async function passOn(record: Uint8Array, _index: number, { on }: Ways): Promise<void> {
  await on(record);
}
