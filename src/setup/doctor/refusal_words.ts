/** Each refusal reason of the server in words, with what to do: the table of docs/knock.md, for the doctor. */
import { REFUSAL_REASONS, type RefusalReason } from "../../server/knock/refusal.ts";

interface Words {
  readonly what: string;
  readonly fix: string;
  /** Whoever can reach the port can bring it about, so it says nothing about this set-up. */
  readonly byAnybody?: true;
}

const WORDS: Readonly<Record<RefusalReason, Words>> = {
  length: {
    what: "not of 94 bytes, so no knocks",
    fix: "nothing: strangers send what they like",
    byAnybody: true,
  },
  unknown_key: {
    what: "made with a key that the server does not know",
    fix:
      "is that key's file in the key folder, not disabled or expired, and was the server reloaded? compare the key " +
      "id: postern server --check here, postern client doctor -K FILE there",
  },
  decrypt_budget: {
    what: "not looked at, because somebody floods a key id with forgeries",
    fix: "knock again a few times; a new key (postern client gen) has an id that nobody has seen",
  },
  authentication: {
    what: "not made with the key that they name",
    fix: "copy the key file to the client again; strangers can bring this about, too",
  },
  version: {
    what: "of a version that this server does not speak",
    fix: "postern client update on the server",
  },
  replayed: {
    what: "counter not above the floor",
    fix:
      "run postern client reseed on that client, and give each machine a key of its own; a floor ahead of the clock " +
      "is told above",
  },
  no_floor: { what: "for a key without a floor", fix: "systemctl restart postern-server" },
  beyond_skew: {
    what: "counter too far ahead of this machine's clock",
    fix: "on that client: postern client doctor, set its clock, then postern client reseed",
  },
  too_old: {
    what: "older than max_packet_age_seconds",
    fix: "set the clocks of both; a ruroco client needs max_packet_age_seconds = 0",
  },
  destination: {
    what: "made for an address that is not in ips",
    fix:
      "add the address that clients type to ips (behind NAT the public one), then: systemctl reload postern-server",
  },
  source: {
    what: "from another address than they name",
    fix: "knock without --ip, or with --permissive (behind NAT)",
  },
  command_not_allowed: {
    what: "for a command that the key may not run",
    fix: "add the command to allow in [keys.NAME], then: systemctl reload postern-server",
  },
  peer_rate: {
    what: "too many in a second from one address",
    fix: "knock less often, or raise max_requests_per_second",
  },
  key_rate: { what: "too many in a second with one key", fix: "raise max_requests_per_second_global" },
  global_rate: { what: "too many in a second altogether", fix: "raise max_requests_per_second_global" },
  floor_not_durable: {
    what: "because their floor could not be saved",
    fix: "see the disk and the state folder above; each of these packets is used up, knock again",
  },
  queue_full: {
    what: "because too many waited for the commander",
    fix: "postern commander doctor; systemctl restart postern-commander",
  },
};

/** `12 packets refused (replayed): counter not above the floor`, and what to do. */
export function refusalWords(reason: string, count: number): Words & { readonly isKnown: boolean } {
  const packets = `${count} ${count === 1 ? "packet" : "packets"} refused (${reason})`;
  const known = REFUSAL_REASONS.find((each) => each === reason);
  if (known === undefined) {
    return { what: packets, fix: "a reason that this version does not know", isKnown: false };
  }
  const words = WORDS[known];
  return { ...words, what: `${packets}: ${words.what}`, isKnown: true };
}
