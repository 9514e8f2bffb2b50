/**
 * policy.toml while the server runs: read again when it has changed.
 *
 * A file that cannot be read, or is wrong, lets nobody open a session: what it was to forbid cannot be told. Sessions that
 * run are judged by the last good one until it is mended: a typo would otherwise end everybody's work, that of the operator
 * who is about to mend it over such a session first of all. Whom he wants out at once he revokes.
 */
import { describeError, Failure } from "../../system/failure.ts";
import {
  decide,
  mayUse,
  parsePolicy,
  type Policy,
  type PolicyDecision,
  type PolicyQuestion,
} from "./policy.ts";

/** What `refresh` has found. */
export type PolicyChange = "same" | "changed" | "broken";

const NO_POLICY = "policy.toml is not good at the moment";

/** The policy in force. */
export class LivePolicy {
  readonly #path: string;
  #text: string | null;
  #policy: Policy;
  #trouble: string | null = null;
  /** Whether the file was empty at the last look. */
  #wasEmpty = false;

  private constructor(path: string, text: string, policy: Policy) {
    this.#path = path;
    this.#text = text;
    this.#policy = policy;
  }

  /**
   * Reads it for the first time.
   *
   * @throws {Failure} if it cannot be read, or is wrong: a server does not start with such a one
   */
  static async open(path: string): Promise<LivePolicy> {
    const text = await readPolicyText(path);
    return new LivePolicy(path, text, parsePolicy(path, text));
  }

  /** Why no session can be opened, or null. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** Looks whether the file has changed; "broken" once for each content that is not good. Never throws for the file. */
  async refresh(): Promise<PolicyChange> {
    let text: string;
    try {
      text = await readPolicyText(this.#path);
    } catch (error) {
      return this.#break(null, error);
    }
    if (this.#isBeingWritten(text) || text === this.#text) return "same";
    try {
      this.#policy = parsePolicy(this.#path, text);
    } catch (error) {
      return this.#break(text, error);
    }
    this.#text = text;
    this.#trouble = null;
    return "changed";
  }

  /** Whether a session may be opened. */
  decideNew(question: PolicyQuestion, nowMs: number): PolicyDecision {
    if (this.#trouble !== null) return { allowed: false, reason: NO_POLICY };
    return decide(this.#policy, question, nowMs);
  }

  /** Whether a session that runs may go on. */
  decideRunning(question: PolicyQuestion, nowMs: number): PolicyDecision {
    return decide(this.#policy, question, nowMs);
  }

  /** Whether an administrator sees a host at all. */
  mayUse(question: Pick<PolicyQuestion, "admin" | "host">, nowMs: number): boolean {
    return mayUse(this.#policy, question, nowMs);
  }

  /**
   * An editor empties a file before it writes it. Taken at its word that would end every session there is, so an empty one
   * counts when it is found so twice.
   */
  #isBeingWritten(text: string): boolean {
    const isFirst = text === "" && !this.#wasEmpty;
    this.#wasEmpty = text === "";
    return isFirst;
  }

  #break(text: string | null, error: unknown): PolicyChange {
    const isKnown = this.#trouble !== null && this.#text === text;
    this.#text = text;
    this.#trouble = describeError(error);
    return isKnown ? "same" : "broken";
  }
}

async function readPolicyText(path: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(path));
  } catch (error) {
    if (error instanceof TypeError) {
      throw new Failure(`could not read ${path}: found bytes that are not UTF-8, accepted is TOML in UTF-8`);
    }
    throw new Failure(`could not read ${path}`, { cause: error });
  }
}
