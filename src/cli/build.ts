/** What one built program knows about itself; `scripts/compile.ts` writes it into each executable. */
import type { Role } from "./command_spec.ts";

export interface Build {
  /** The role whose executable this is; null for the whole program, as it runs from a checkout. */
  readonly role: Role | null;
  /** Revision of the sources it was built from; null in a checkout. */
  readonly commit: string | null;
  /** Ed25519 public key of its releases, 32 bytes in base64; null: `client update` wants --key. */
  readonly releaseKey: string | null;
  /** The file a user starts, for a self-extracting executable; null: the runtime's own, or a checkout. */
  readonly executablePath: string | null;
}

/** The program as it runs from its sources. */
export const CHECKOUT: Build = { role: null, commit: null, releaseKey: null, executablePath: null };
