/** Whether a packet can reach the server: its addresses, its port, the kernel's buffer, the firewall. */
import { refusedAddressKind } from "../../commander/knock/address_filter.ts";
import { type IpAddress, ipFamily } from "../../protocol/knock/address.ts";
import { formatListenAddress } from "../../server/knock/listen_address.ts";
import { SYSCTL_PATH } from "../layout.ts";
import { type Check, notChecked, ok, type Outcome, problem, warning } from "./finding.ts";
import { CAT, NFT } from "./programs.ts";
import type { ServerSubject } from "./server_subject.ts";

const UNSPECIFIED: ReadonlySet<string> = new Set(["::", "0.0.0.0"]);
const BUFFER_BYTES = 8 * 1024 * 1024;
/** With less a pause of the server of some tens of milliseconds costs packets under a flood. */
const SMALL_BUFFER_BYTES = 1024 * 1024;
const PACKET_MEMORY_BYTES = 768;
const RESTART = "systemctl restart postern-server";
/** The file is two lines long. */
const SYSCTL_BYTES = 64 * 1024;

export function serverNetworkChecks(subject: ServerSubject): Check[] {
  return [
    { name: "ips", run: () => checkIps(subject) },
    { name: "port", run: () => checkPort(subject) },
    { name: "receive buffer", run: () => checkBuffer(subject) },
    { name: "firewall", run: () => checkFirewall(subject) },
  ];
}

function checkIps({ machine, config, allowsNonRoutable }: ServerSubject): Outcome[] {
  const ips = [...config.ips];
  const own = machine.interfaces().filter(({ ip }) =>
    !["loopback", "link-local"].includes(refusedAddressKind(ip) ?? "")
  );
  const line =
    'ips = ["ADDRESS"] with the address that clients knock on, then: systemctl reload postern-server';
  if (ips.length === 0) return [problem("ips is empty: every packet is refused", line)];
  const outcomes: Outcome[] = [];
  const isOwn = (ip: IpAddress): boolean => machine.interfaces().some((each) => each.ip === ip);
  const publicOwn = own.filter(({ ip }) => refusedAddressKind(ip) === null);
  const shownOwn = own.map(({ ip, device }) => `${ip} on ${device}`).join(", ") || "none";
  if (!ips.some(isOwn)) {
    const text = `none of ips (${ips.join(", ")}) is an address of this machine (it has ${shownOwn})`;
    outcomes.push(
      publicOwn.length === 0
        ? ok(`${text}: right behind NAT, if ${ips[0]} is what clients type`)
        : warning(`${text}: right only if clients type ${ips[0]} and something translates it`, line),
    );
  }
  for (const family of [4, 6] as const) {
    const missing = publicOwn.filter(({ ip }) => ipFamily(ip) === family);
    if (missing.length === 0 || ips.some((ip) => ipFamily(ip) === family)) continue;
    outcomes.push(
      warning(
        `clients that knock over IPv${family} are refused (destination): ips has no IPv${family} address, this ` +
          `machine has ${missing.map(({ ip }) => ip).join(", ")}`,
        `add "${missing[0]?.ip}" to ips, then: systemctl reload postern-server`,
      ),
    );
  }
  const kinds = new Map(ips.map((ip) => [ip, refusedAddressKind(ip)]));
  const examples = ips.filter((ip) => kinds.get(ip) === "documentation");
  if (examples.length > 0) {
    outcomes.push(
      warning(`ips names ${examples.join(", ")}, an address for examples that nobody can reach`, line),
    );
  }
  const locals = ips.filter((ip) => kinds.get(ip) !== null && kinds.get(ip) !== "documentation");
  if (locals.length === ips.length && publicOwn.length === 0) {
    outcomes.push(
      warning(
        `ips names only ${locals.join(", ")} (${
          kinds.get(locals[0] ?? ips[0] as IpAddress)
        }): behind NAT clients ` +
          "outside type the public address, and their packets are refused (destination)",
        "add the public address to ips, unless all clients are in the same private network",
      ),
    );
  }
  if (locals.length > 0 && !allowsNonRoutable) {
    outcomes.push(
      warning(
        `ips names ${
          locals.join(", ")
        }, and the commander refuses to run anything for clients of a private network`,
        "allow_non_routable_ips = true, then: systemctl restart postern-commander",
      ),
    );
  }
  return outcomes.length > 0 ? outcomes : [ok(ips.join(", "))];
}

async function checkPort(subject: ServerSubject): Promise<Outcome[]> {
  const { machine, config, sockets, isRunning, accounts } = subject;
  const { ip, port } = config.address;
  const address = formatListenAddress(config.address);
  if (port === 0) {
    return [notChecked("the kernel chooses the port, so nobody can knock on it", 'address = "[::]:34020"')];
  }
  const outcomes: Outcome[] = [];
  if (!UNSPECIFIED.has(ip) && !machine.interfaces().some((each) => each.ip === ip)) {
    outcomes.push(
      problem(
        `address is ${address}, and ${ip} is no address of this machine`,
        `address = "[::]:${port}", then: ${RESTART} (a public address behind NAT belongs into ips)`,
      ),
    );
  }
  outcomes.push(...await familyOutcomes(subject));
  if (sockets === null) {
    return [...outcomes, notChecked("the program ss could not be asked", "apt install iproute2")];
  }
  if (sockets.length === 0) {
    const why = isRunning === true ? "; a server with another address runs" : "";
    return [
      ...outcomes,
      problem(`nobody listens on UDP ${port}${why}`, `${RESTART}; then: journalctl -u postern-server -n 20`),
    ];
  }
  const processes = sockets.map((each) => each.processes || `a process of ${accounts.userName(each.uid)}`)
    .join(", ");
  if (isRunning === false) {
    return [
      ...outcomes,
      problem(
        `UDP ${port} is taken by ${processes}, which is no server of this configuration`,
        `end it, or choose another port in address; then: ${RESTART}`,
      ),
    ];
  }
  if (sockets.some(({ uid }) => uid === 0)) {
    outcomes.push(
      warning(
        `the server runs as root (${processes}): whoever finds a way into it owns this machine`,
        "run it as the user postern, as the unit of postern client setup does",
      ),
    );
  }
  if (isRunning === null) {
    outcomes.push(
      notChecked(`whether ${processes} is the server: its lock cannot be read`, "run it as root"),
    );
  } else outcomes.push(ok(`${processes} listens on ${address}`));
  return outcomes;
}

/** Whether the addresses that clients know are of a family that the socket hears. */
async function familyOutcomes({ machine, config, sockets }: ServerSubject): Promise<Outcome[]> {
  const { ip, port } = config.address;
  const families = new Set([...config.ips].map(ipFamily));
  if (ipFamily(ip) === 4 && families.has(6)) {
    return [
      problem(
        `address is of IPv4, so IPv6 packets never arrive, and ips names ${
          [...config.ips].filter((each) => ipFamily(each) === 6).join(", ")
        }`,
        `address = "[::]:${port}", then: ${RESTART}`,
      ),
    ];
  }
  if (ip !== "::" || !families.has(4)) return [];
  const heard = sockets?.[0]?.host;
  const setting = heard === undefined ? await kernelSetting(machine, "net/ipv6/bindv6only") : null;
  if (heard !== "[::]" && setting !== 1) return [];
  return [
    problem(
      "[::] takes no IPv4 here (net.ipv6.bindv6only is 1), and ips names IPv4 addresses",
      `sysctl -w net.ipv6.bindv6only=0, then: ${RESTART}`,
    ),
  ];
}

async function checkBuffer({ machine, sockets, isRunning }: ServerSubject): Promise<Outcome[]> {
  const setting = await kernelSetting(machine, "net/core/rmem_default");
  const socket = isRunning === true ? sockets?.[0] : undefined;
  const outcomes: Outcome[] = [];
  if (socket?.drops !== null && socket?.drops !== undefined && socket.drops > 0) {
    outcomes.push(
      warning(
        `the kernel dropped ${socket.drops} datagrams because the server's buffer was full`,
        await raise(machine, setting),
      ),
    );
  }
  const bytes = socket?.bufferBytes ?? setting;
  if (bytes === null) {
    return [...outcomes, notChecked("the size of the receive buffer is not to be seen here (a container?)")];
  }
  if (bytes < SMALL_BUFFER_BYTES) {
    outcomes.push(
      warning(
        `the receive buffer holds ${bytes} bytes, some ${
          Math.floor(bytes / PACKET_MEMORY_BYTES)
        } packets: a flood ` +
          "pushes knocks out",
        await raise(machine, setting),
      ),
    );
  }
  return outcomes.length > 0 ? outcomes : [ok(`${bytes} bytes`)];
}

async function raise(machine: ServerSubject["machine"], setting: number | null): Promise<string> {
  if (setting !== null && setting >= SMALL_BUFFER_BYTES) return `the setting is larger by now: ${RESTART}`;
  const written = new TextDecoder().decode(await machine.read(SYSCTL_PATH, SYSCTL_BYTES) ?? new Uint8Array());
  return /^\s*-?net\.core\.rmem_default\s*=/m.test(written)
    ? `${SYSCTL_PATH} sets more, and the kernel does not have it: sysctl --system && ${RESTART}; in a container only ` +
      "the host can set it"
    : `echo net.core.rmem_default=${BUFFER_BYTES} >> ${SYSCTL_PATH} && sysctl --system && ${RESTART}`;
}

async function kernelSetting(machine: ServerSubject["machine"], name: string): Promise<number | null> {
  const result = await machine.run(CAT, [`/proc/sys/${name}`]);
  const digits = /^[0-9]+/.exec(result?.code === 0 ? result.stdout : "")?.[0];
  return digits === undefined ? null : Number(digits);
}

/** A hint and no more: what a rule set lets through, only the kernel can tell. */
async function checkFirewall({ machine, config }: ServerSubject): Promise<Outcome[]> {
  const { port } = config.address;
  const elsewhere = `a firewall in front of this machine (router, cloud) must let UDP ${port} in, too`;
  const result = await machine.run(NFT, ["list", "ruleset"]);
  if (result === null) return [notChecked(`there is no nft to ask; ${elsewhere}`)];
  if (result.code !== 0) {
    return [notChecked(`nft tells its rules to root alone; ${elsewhere}`, "run it as root")];
  }
  const dropsInput = /hook input [^}]*?policy drop/.test(result.stdout);
  if (!dropsInput) return [ok(`no nftables chain drops what comes in unasked; ${elsewhere}`)];
  if (new RegExp(`\\b${port}\\b`).test(result.stdout)) {
    return [ok(`nftables drops what is not accepted, and has a rule that names ${port}; ${elsewhere}`)];
  }
  return [
    warning(
      `nftables drops what is not accepted, and no rule names ${port}`,
      `let it in: ufw allow ${port}/udp, or in your input chain: udp dport ${port} accept`,
    ),
  ];
}
