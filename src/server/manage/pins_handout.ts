/**
 * Hands out the certificates to believe while the CA is being changed, over proven links, to whoever has others.
 *
 * Those of the data folder are handed out only while this process shows a certificate that fits them. Once the old CA is
 * given up there, a server that still shows its certificate would cut everybody off that it told: it has to be started
 * again first.
 */
import type { Pins } from "../../protocol/manage/control_contract.ts";
import { isSameBytes } from "../../protocol/manage/signing_key.ts";
import type { AdminLink } from "./admin_links.ts";
import type { HostLink, HostLinks } from "./host_links.ts";
import type { Journal } from "./journal.ts";
import type { Registry } from "./registry.ts";
import type { ServerIdentity } from "./server_identity.ts";

/** What the handout asks and tells. */
export interface PinsHandoutParts {
  readonly registry: Pick<Registry, "notePinned" | "pinsGeneration">;
  readonly hosts: HostLinks;
  readonly journal: Journal;
  /** As the process was started with it. */
  readonly identity: ServerIdentity;
  /** As it is in the data folder now. */
  readonly load: () => Promise<ServerIdentity>;
}

export class PinsHandout {
  readonly #parts: PinsHandoutParts;
  #pins: Pins;
  #loading = false;

  constructor(parts: PinsHandoutParts) {
    this.#parts = parts;
    this.#pins = parts.identity.pins;
  }

  /** To a host that has registered, if its pins are others: newer ones where the registry is a backup. */
  toHost(host: HostLink): void {
    const { registration } = host;
    if (registration !== null && registration.pinsGeneration !== this.#pins.generation) {
      void host.pin(this.#pins);
    }
  }

  /** To an administrator whose link stands; the generation is what the registry knows of him. */
  async toAdmin(admin: AdminLink, generation: number): Promise<void> {
    const pins = this.#pins;
    if (generation === pins.generation) return;
    try {
      await admin.peer.client.pin(pins);
      this.#parts.registry.notePinned("administrator", admin.key, pins.generation);
    } catch {
      // His next link is asked again.
    }
  }

  /** A host says that it has stored them. */
  pinned(host: HostLink, generation: number): void {
    const { registry, journal } = this.#parts;
    // Its own word, but no more than there is: else it would never be asked again.
    const stored = Math.min(generation, this.#pins.generation), { registration } = host;
    // What it has not stored yet need not be said; and each word of it is a durable write, which all others wait for.
    if (registration === null || stored < this.#pins.generation) return;
    if (registration.pinsGeneration === stored) return;
    host.registration = { ...registration, pinsGeneration: stored };
    try {
      registry.notePinned("host", host.key, stored);
    } catch (error) {
      journal.failed("pins of a host not noted", error, { host: host.name });
    }
  }

  /** The registry was written: if there are newer pins, every host gets them. Never rejects. */
  async refresh(): Promise<void> {
    const { registry, hosts, journal, identity, load } = this.#parts;
    if (this.#loading) return;
    this.#loading = true;
    try {
      if (registry.pinsGeneration() <= this.#pins.generation) return;
      const now = await load();
      if (!isSameBytes(now.tlsCertificateDer, identity.tlsCertificateDer)) {
        return journal.restartNeeded("the data folder has another certificate than this server shows");
      }
      this.#pins = now.pins;
      for (const host of hosts.all()) this.toHost(host);
    } catch (error) {
      journal.failed("certificates not read", error);
    } finally {
      this.#loading = false;
    }
  }
}
