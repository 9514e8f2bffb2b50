/**
 * The newest head of the server's audit that this host was shown, kept so that rows that are cut off later are missed:
 * `server manage audit --verify --head FILE` compares. Here only what nobody honest does is noticed and logged.
 */
import { verifyHead } from "../../protocol/manage/audit_head.ts";
import type { SignedHead } from "../../protocol/manage/control_contract.ts";
import { isSameBytes } from "../../protocol/manage/signing_key.ts";
import { describeError } from "../../system/failure.ts";
import { type Log, LogThrottle } from "../../system/log.ts";

/** Heads whose hashes are compared with later ones of the same number. */
const MAX_REMEMBERED = 256;

/** Where the newest one is kept; `AgentFolder` is such a place. */
export interface HeadStore {
  readHead(): Promise<SignedHead | null>;
  writeHead(head: SignedHead): Promise<void>;
}

/** The head. */
export class KeptHead {
  readonly #store: HeadStore;
  readonly #serverKey: Uint8Array;
  readonly #log: Log;
  readonly #throttle = new LogThrottle({ perKey: { burst: 4, perMs: 60_000 }, maxKeys: 4 });
  readonly #seen = new Map<number, Uint8Array>();
  #newest: SignedHead | null = null;
  /** Number of the newest one when the link began: what comes on it is newer, in whatever order it comes. */
  #atLinkStart = 0;
  #lastWrite: Promise<void> = Promise.resolve();

  private constructor(store: HeadStore, serverKey: Uint8Array, log: Log) {
    this.#store = store;
    this.#serverKey = serverKey;
    this.#log = log;
  }

  /** Reads what was kept; a head that the server has not signed is passed over. */
  static async open(store: HeadStore, serverKey: Uint8Array, log: Log): Promise<KeptHead> {
    const kept = new KeptHead(store, serverKey, log), head = await store.readHead();
    if (head !== null && await verifyHead(head, serverKey)) kept.#remember(head);
    kept.linkBegan();
    return kept;
  }

  /** The newest one; null if there never was any. */
  get newest(): SignedHead | null {
    return this.#newest;
  }

  /** A new link: nothing older than what is known now may come on it. */
  linkBegan(): void {
    this.#atLinkStart = this.#newest?.number ?? 0;
  }

  /** Takes a head; durable, where it is the newest, when this resolves. Never rejects: no session is lost for it. */
  async take(head: SignedHead): Promise<void> {
    if (!await verifyHead(head, this.#serverKey)) {
      return this.#warn("a head of the audit is not signed by the server", head);
    }
    const before = this.#seen.get(head.number);
    if (head.number < this.#atLinkStart || (before !== undefined && !isSameBytes(before, head.hash))) {
      return this.#warn("the server's audit was rewound: keep the file head", head);
    }
    if (head.number <= (this.#newest?.number ?? -1)) return;
    this.#remember(head);
    await this.#write();
  }

  #warn(message: string, { number }: SignedHead): void {
    const { log, suppressed } = this.#throttle.take(message, performance.now());
    if (log) this.#log.warn(message, { number, known: this.#newest?.number ?? 0, suppressed });
  }

  #remember(head: SignedHead): void {
    this.#newest = head;
    this.#seen.set(head.number, head.hash);
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > MAX_REMEMBERED && oldest !== undefined) this.#seen.delete(oldest);
  }

  /** One write at a time, each of the newest one when it begins. */
  #write(): Promise<void> {
    this.#lastWrite = this.#lastWrite.then(async () => {
      try {
        if (this.#newest !== null) await this.#store.writeHead(this.#newest);
      } catch (error) {
        this.#log.error("the head of the audit could not be kept", { error: describeError(error) });
      }
    });
    return this.#lastWrite;
  }
}
