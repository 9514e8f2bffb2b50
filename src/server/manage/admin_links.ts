/** Which administrators are there. One may have many links: each of his running programs is one. */
import type { adminForServer, SignedHead } from "../../protocol/manage/control_contract.ts";
import type { ResetCode } from "../../protocol/manage/reset_code.ts";
import type { RunningLink } from "../../protocol/manage/running_link.ts";
import type { Peer } from "../../protocol/rpc/peer.ts";

/** The calls that an administrator's program serves. */
export type AdminPeer = Peer<typeof adminForServer>;

/** What a link of an administrator is made of. */
export interface AdminLinkParts {
  readonly key: Uint8Array<ArrayBuffer>;
  readonly name: string;
  /** IP address and port. */
  readonly address: string;
  readonly link: RunningLink;
  /** Makes the peer of its control flow. */
  readonly serve: (admin: AdminLink) => AdminPeer;
}

/** One link of an administrator. */
export class AdminLink {
  readonly key: Uint8Array<ArrayBuffer>;
  /** The key as hexadecimal digits. */
  readonly keyHex: string;
  readonly name: string;
  readonly address: string;
  readonly link: RunningLink;
  readonly peer: AdminPeer;
  /** Lists of hosts that it watches. */
  watches = 0;

  constructor({ key, name, address, link, serve }: AdminLinkParts) {
    this.key = key;
    this.keyHex = key.toHex();
    this.name = name;
    this.address = address;
    this.link = link;
    this.peer = serve(this);
  }

  /** Tells it that a session of this link is over. Whether it hears is its own affair: the next head tells as much. */
  async ended(head: SignedHead): Promise<void> {
    try {
      await this.peer.client.ended(head);
    } catch {
      // It has gone.
    }
  }

  /** Ends the link; the program is told why. */
  close(code: ResetCode, text: string): void {
    this.link.close(code, text);
  }
}

/** All links of administrators. */
export class AdminLinks {
  readonly #byKey = new Map<string, Set<AdminLink>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** How many an administrator has. */
  countOf(keyHex: string): number {
    return this.#byKey.get(keyHex)?.size ?? 0;
  }

  /** Each one. */
  *all(): Generator<AdminLink> {
    for (const links of this.#byKey.values()) yield* links;
  }

  /** A link stands. */
  add(admin: AdminLink): void {
    const links = this.#byKey.get(admin.keyHex);
    if (links === undefined) this.#byKey.set(admin.keyHex, new Set([admin]));
    else links.add(admin);
    this.#size++;
  }

  /** It has ended. */
  remove(admin: AdminLink): void {
    const links = this.#byKey.get(admin.keyHex);
    if (links?.delete(admin) !== true) return;
    this.#size--;
    if (links.size === 0) this.#byKey.delete(admin.keyHex);
  }
}
