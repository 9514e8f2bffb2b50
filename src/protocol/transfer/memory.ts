/** What must be kept before an act that would let somebody guess again; see pairing.ts. */

/** Remembers what became of a code. Each promise settles when it is durable, as far as the place allows. */
export interface PairingMemory {
  /**
   * The code is spent from here on, whatever happens next: called before the first act by which the other side could
   * learn whether its guess was right.
   *
   * @param resumeSecret 32 bytes that the other side has too, if it knows the code
   */
  spend(resumeSecret: Uint8Array<ArrayBuffer>): Promise<void>;
  /** The other side has proven that it knows the code; called before it is answered. */
  proven(resumeSecret: Uint8Array<ArrayBuffer>): Promise<void>;
}
