/** What a program under test must tell for its transfers to be measured. */

/** One of the two processes of a transfer. */
export interface Side {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What is typed at it, at once. */
  readonly input?: string;
}

/** One transfer; both sides are started in the same moment. */
export interface Attempt {
  readonly sender: Side;
  readonly receiver: Side;
  /** Where the file lies afterwards. */
  readonly receivedPath: string;
}

export interface TransferSubject {
  readonly name: string;
  /**
   * A transfer through the local relay, under a code of its own that both sides are given.
   *
   * @param path the file to send
   * @param folder an empty folder for what arrives and what else is written down
   */
  readonly attempt: (path: string, folder: string) => Promise<Attempt>;
}

/** A program that cannot be measured here. */
export interface MissingSubject {
  readonly name: string;
  readonly missing: string;
}
