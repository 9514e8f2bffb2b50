/** The addresses under which clients may reach this machine: its own public ones, or those the operator names. */
import { refusedAddressKind } from "../commander/knock/address_filter.ts";
import { type IpAddress, tryParseIp } from "../protocol/knock/address.ts";
import { Failure, UsageFailure } from "../system/failure.ts";

/** One address and where it was found. */
export interface FoundAddress {
  readonly ip: IpAddress;
  /** Network interface; null: named with --ips. */
  readonly device: string | null;
  /** Why no command runs for it unless `allow_non_routable_ips` says so; null: it is public. */
  readonly privateKind: string | null;
}

const IPS_FORMS = "IPv4 and IPv6 addresses with commas between them, such as 203.0.113.9,2001:db8::9";
/** Never an address that a client could be given. */
const NEVER_OURS = new Set(["loopback", "link-local", "unspecified", "multicast", "broadcast"]);

/** Reads the value of `--ips`. */
export function parseIps(text: string): FoundAddress[] {
  const found = text.split(",").map((part) => {
    const ip = tryParseIp(part.trim());
    const kind = ip === null ? "" : refusedAddressKind(ip);
    if (ip !== null && !NEVER_OURS.has(kind ?? "")) return { ip, device: null, privateKind: kind };
    throw new UsageFailure(
      kind
        ? `cannot use option --ips: found "${part}", which is ${kind}, accepted: addresses that clients can reach`
        : `cannot use option --ips: found "${part}", accepted: ${IPS_FORMS}`,
    );
  });
  return [...new Map(found.map((each) => [each.ip, each])).values()];
}

/**
 * Chooses this machine's public addresses.
 *
 * @throws {Failure} if it has none: behind NAT nobody here knows the address that clients use
 */
export function publicAddresses(interfaces: readonly Deno.NetworkInterfaceInfo[]): FoundAddress[] {
  const own = new Map<IpAddress, FoundAddress>();
  for (const { name, address } of interfaces) {
    const ip = tryParseIp(address);
    if (ip === null) continue;
    const privateKind = refusedAddressKind(ip);
    if (!NEVER_OURS.has(privateKind ?? "")) own.set(ip, { ip, device: name, privateKind });
  }
  const found = [...own.values()];
  const chosen = found.filter((each) => each.privateKind === null);
  if (chosen.length > 0) return chosen;
  const list = found.map(({ ip, device, privateKind }) => `${ip} on ${device} (${privateKind})`).join(", ");
  throw new Failure(
    "cannot tell under which address clients reach this machine: " +
      `found ${list === "" ? "no address" : list}, accepted is a public one`,
    {
      hint:
        "behind NAT (a router or a cloud's load balancer) pass the public address, which a packet must name: " +
        "postern client setup --ips ADDRESS; for clients in the same private network pass the private one",
    },
  );
}
