/** The way from this machine to the server: name, address family, route, and the port that is typed. */
import {
  DEFAULT_KNOCK_PORT,
  formatHostPort,
  type HostAddress,
  lacksPort,
  parseHostAddress,
} from "../../client/knock/destination.ts";
import { refusedAddressKind } from "../../commander/knock/address_filter.ts";
import { type IpAddress, ipFamily } from "../../protocol/knock/address.ts";
import { describeError } from "../../system/failure.ts";
import { DEFAULT_PORT } from "../layout.ts";
import { type Check, notChecked, ok, type Outcome, problem, warning } from "./finding.ts";
import type { Machine } from "./machine.ts";
import { IP } from "./programs.ts";

export interface ClientNetworkOptions {
  readonly machine: Machine;
  /** As typed with `--address`. */
  readonly address: string;
  readonly offline: boolean;
}

/** @throws {UsageFailure} if the address is malformed */
export function clientNetworkChecks(options: ClientNetworkOptions): Check[] {
  const typed = parseHostAddress(options.address, DEFAULT_KNOCK_PORT);
  const way = new Way(options, typed);
  return [
    { name: "port", run: () => checkPort(options.address, typed) },
    { name: "name", run: () => way.checkName() },
    { name: "route", run: () => way.checkRoutes() },
  ];
}

function checkPort(address: string, { host, port }: HostAddress): Outcome[] {
  if (!lacksPort(address)) return [ok(`UDP ${port}`)];
  return [
    warning(
      `${address} names no port, so the knock goes to UDP ${port}, as ruroco's does; postern's server listens on ` +
        `${DEFAULT_PORT} unless its configuration says otherwise`,
      `postern client send -a ${formatHostPort(host, DEFAULT_PORT)} ...`,
    ),
  ];
}

/** What the address stands for, found out once for the checks that follow. */
class Way {
  readonly #options: ClientNetworkOptions;
  readonly #typed: HostAddress;
  #destinations: readonly IpAddress[] = [];

  constructor(options: ClientNetworkOptions, typed: HostAddress) {
    this.#options = options;
    this.#typed = typed;
  }

  async checkName(): Promise<Outcome[]> {
    const { machine, offline } = this.#options;
    const { host, ip } = this.#typed;
    if (ip !== null) {
      this.#destinations = [ip];
      return [ok(`${ip} is an address, no name has to be resolved`)];
    }
    if (offline) return [notChecked(`--offline: ${host} was not resolved`)];
    let found: readonly IpAddress[];
    try {
      found = await machine.lookup(host);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      return [
        problem(
          `${host} has no address: ${describeError(error)}`,
          `getent ahosts ${host}, or give an IP address`,
        ),
      ];
    }
    // As the client does it: the first of each family.
    this.#destinations = ([4, 6] as const)
      .map((family) => found.find((each) => ipFamily(each) === family))
      .filter((each) => each !== undefined);
    if (this.#destinations.length === 0) {
      return [problem(`${host} resolves to nothing that a knock can be sent to`, `getent ahosts ${host}`)];
    }
    return [ok(`${host} is ${this.#destinations.join(" and ")}: one packet for each`)];
  }

  async checkRoutes(): Promise<Outcome[]> {
    if (this.#destinations.length === 0) return [notChecked("no address is known to look for a route to")];
    const outcomes: Outcome[] = [];
    const routed: IpAddress[] = [];
    for (const ip of this.#destinations) {
      const outcome = await this.#checkRoute(ip);
      outcomes.push(outcome);
      if (outcome.state !== "problem") routed.push(ip);
    }
    // The knock still gets there by the other family.
    if (routed.length === 0) return outcomes;
    return outcomes.map((each) => each.state === "problem" ? { ...each, state: "warning" } : each);
  }

  async #checkRoute(ip: IpAddress): Promise<Outcome> {
    const { machine } = this.#options;
    const family = ipFamily(ip);
    const own = machine.interfaces().find((each) => each.ip === ip);
    if (own !== undefined && refusedAddressKind(ip) !== "loopback") {
      return warning(
        `${ip} is this machine's own (${own.device}): the knock never leaves it, which proves nothing about clients`,
        "run this on the machine that knocks",
      );
    }
    const result = await machine.run(IP, [`-${family}`, "route", "get", ip]);
    if (result === null) return notChecked("the program ip is not installed", "apt install iproute2");
    if (result.code !== 0) {
      return problem(
        `there is no IPv${family} route to ${ip}: ${firstLine(result.stderr)}`,
        family === 6
          ? "knock over IPv4: postern client send -4 ... (or give this machine IPv6)"
          : "connect this machine to the network; see: ip -4 route",
      );
    }
    const line = firstLine(result.stdout);
    if (/^(?:unreachable|prohibit|blackhole)\b/.test(line)) {
      return problem(`the route to ${ip} leads nowhere: ${line}`, `see: ip -${family} route get ${ip}`);
    }
    const device = /\bdev (\S+)/.exec(line)?.[1] ?? "an unknown device";
    const source = /\bsrc (\S+)/.exec(line)?.[1] ?? "an unknown address";
    return privateWarning(ip, this.#typed.host) ?? ok(`IPv${family} to ${ip} by ${device} from ${source}`);
  }
}

/** A private address is reached only from its own network, and the commander refuses its peers by default. */
function privateWarning(ip: IpAddress, typed: string): Outcome | null {
  const kind = refusedAddressKind(ip);
  if (kind === null || kind === "documentation") return null;
  return warning(
    `${
      typed === ip ? ip : `${typed} (${ip})`
    } is a ${kind} address: it is reached from its own network alone, ` +
      "and must be in ips as it is; a knock from there runs nothing unless the server allows non-routable addresses",
    "knock on the public address, or set allow_non_routable_ips = true in the server's config.toml",
  );
}

function firstLine(text: string): string {
  return text.trim().split("\n", 1)[0] ?? "";
}
