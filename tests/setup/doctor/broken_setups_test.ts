/**
 * Broken set-ups, each with the finding that names it and its fix; and the healthy ones, in which nothing is wrong. No
 * secret may show in any of them: keys lie in every folder, and "hunter2" in every command.
 */
import assert from "node:assert/strict";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { formatKey } from "../../../src/protocol/knock/key.ts";
import { runClientDoctor } from "../../../src/setup/doctor/client_doctor.ts";
import { runCommanderDoctor } from "../../../src/setup/doctor/commander_doctor.ts";
import type { Finding, FindingState } from "../../../src/setup/doctor/finding.ts";
import { runServerDoctor } from "../../../src/setup/doctor/server_doctor.ts";
import { Failure } from "../../../src/system/failure.ts";
import {
  CHECK_KEY,
  counterAt,
  type FakeMachine,
  floorsAt,
  healthyClient,
  healthyServer,
  healthyStatus,
  NOW_MS,
  SERVER_IP,
  serverSocket,
  testKey,
  USER_KEY,
} from "./fake_machine.ts";

type Doctor = "client" | "server" | "commander";

async function examine(doctor: Doctor, machine: FakeMachine, proof?: Failure): Promise<Finding[]> {
  const findings = await run(doctor, machine, proof);
  const all = JSON.stringify(findings);
  for (const key of [USER_KEY, CHECK_KEY]) {
    const text = formatKey(key);
    assert(!all.includes(text.slice(16, 40)), `${doctor} doctor tells a key`);
  }
  assert(!all.includes("hunter2"), `${doctor} doctor tells a command`);
  return findings;
}

async function run(doctor: Doctor, machine: FakeMachine, proof?: Failure): Promise<Finding[]> {
  switch (doctor) {
    case "client":
      return await runClientDoctor({
        machine,
        address: "host.example:34020",
        keyPath: "/home/ann/user.key",
        timeFrom: "pool.ntp.org",
        offline: false,
      });
    case "server":
      return await runServerDoctor({
        machine,
        configPath: "/etc/postern/config.toml",
        statusPath: undefined,
        timeFrom: "pool.ntp.org",
        offline: false,
        prove: () => proof === undefined ? Promise.resolve() : Promise.reject(proof),
      });
    case "commander":
      return await runCommanderDoctor({
        machine,
        configPath: "/etc/postern/config.toml",
        commandsPath: undefined,
      });
  }
}

const HEALTHY: Record<Doctor, () => FakeMachine> = {
  client: healthyClient,
  server: healthyServer,
  commander: healthyServer,
};

for (const doctor of ["client", "server", "commander"] as const) {
  Deno.test(`the ${doctor} doctor finds nothing wrong in a healthy set-up`, async () => {
    const findings = await examine(doctor, HEALTHY[doctor]());
    assert.deepEqual(findings.filter(({ state }) => state !== "ok"), []);
    assert(findings.length > 4);
  });
}

interface Broken {
  readonly what: string;
  readonly doctor: Doctor;
  readonly breakIt: (machine: FakeMachine) => void;
  readonly check: string;
  readonly state: FindingState;
  readonly found: RegExp;
  readonly fix: RegExp;
}

const CONFIG_PATH = "/etc/postern/config.toml";
const STATUS_PATH = "/var/lib/postern/status.json";
const LEASES_PATH = "/var/lib/postern-commander/leases.json";
const COUNTER_PATH = "/home/ann/.config/postern/counter";
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

function status(change: Record<string, unknown>): (machine: FakeMachine) => void {
  return (machine) => {
    const bytes = new TextEncoder().encode(JSON.stringify({ ...healthyStatus(), ...change }));
    machine.change(STATUS_PATH, { bytes });
  };
}

function leases(...changes: Record<string, unknown>[]): (machine: FakeMachine) => void {
  return (machine) => {
    const lease = {
      command: "open_ssh",
      ip: "198.51.100.7",
      undo: "echo hunter2",
      undoTimeoutMs: 30_000,
      undoAfterMs: MINUTE_MS,
      dueAtMs: NOW_MS + 30_000,
      applied: true,
      undoFailures: 0,
      runId: null,
    };
    const document = { version: 1, bootId: "", leases: changes.map((change) => ({ ...lease, ...change })) };
    machine.put(LEASES_PATH, JSON.stringify(document), [0, 0, 0o600]);
  };
}

const BROKEN: readonly Broken[] = [
  // The client.
  {
    what: "a clock an hour and more ahead",
    doctor: "client",
    breakIt: (machine) => machine.time = { aheadMs: -2 * HOUR_MS, uncertaintyMs: 20 },
    check: "clock",
    state: "problem",
    found: /2 hours ahead of pool\.ntp\.org.*beyond_skew/,
    fix: /timedatectl set-ntp true/,
  },
  {
    what: "a clock six minutes behind",
    doctor: "client",
    breakIt: (machine) => machine.time = { aheadMs: 6 * MINUTE_MS, uncertaintyMs: 20 },
    check: "clock",
    state: "problem",
    found: /6 minutes behind.*too_old/,
    fix: /timedatectl/,
  },
  {
    what: "a clock a minute off",
    doctor: "client",
    breakIt: (machine) => machine.time = { aheadMs: MINUTE_MS, uncertaintyMs: 20 },
    check: "clock",
    state: "warning",
    found: /60 s behind/,
    fix: /timedatectl/,
  },
  {
    what: "nobody who tells the time",
    doctor: "client",
    breakIt: (machine) => machine.time = new Failure("pool.ntp.org gave no time within 3 s: found no answer"),
    check: "clock",
    state: "not checked",
    found: /nobody told the time.*no answer/,
    fix: /--time-from https:/,
  },
  {
    what: "a name that does not resolve",
    doctor: "client",
    breakIt: (machine) => machine.names.clear(),
    check: "name",
    state: "problem",
    found: /host\.example has no address: .*ENOTFOUND/,
    fix: /getent ahosts host\.example/,
  },
  {
    what: "an IPv6 address alone and no IPv6 route",
    doctor: "client",
    breakIt: (machine) => machine.names.set("host.example", ["2606:2800::1"]),
    check: "route",
    state: "problem",
    found: /no IPv6 route to 2606:2800::1: .*unreachable/,
    fix: /-4/,
  },
  {
    what: "both families and no IPv6 route",
    doctor: "client",
    breakIt: (machine) => machine.names.set("host.example", [SERVER_IP, "2606:2800::1"]),
    check: "route",
    state: "warning",
    found: /no IPv6 route/,
    fix: /client send -4/,
  },
  {
    what: "a private address for the server (hairpin)",
    doctor: "client",
    breakIt: (machine) => machine.names.set("host.example", ["192.168.1.20"]),
    check: "route",
    state: "warning",
    found: /private address/,
    fix: /allow_non_routable_ips = true/,
  },
  {
    what: "a key that is missing on the client",
    doctor: "client",
    breakIt: (machine) => machine.files.delete("/home/ann/user.key"),
    check: "key",
    state: "problem",
    found: /no file \/home\/ann\/user\.key/,
    fix: /client gen --key-file \/home\/ann\/user\.key/,
  },
  {
    what: "a key that others may read",
    doctor: "client",
    breakIt: (machine) => machine.change("/home/ann/user.key", { mode: 0o644 }),
    check: "key",
    state: "warning",
    found: /open to other users \(mode 0644, accepted is 0600\)/,
    fix: /^chmod 600 \/home\/ann\/user\.key$/,
  },
  {
    what: "a key that is cut off",
    doctor: "client",
    breakIt: (machine) =>
      machine.change("/home/ann/user.key", {
        bytes: new TextEncoder().encode(formatKey(USER_KEY).slice(0, 40)),
      }),
    check: "key",
    state: "problem",
    found: /holds no key/,
    fix: /copy the whole line again/,
  },
  {
    what: "a counter folder that is root's since a run as root",
    doctor: "client",
    breakIt: (machine) => machine.change("/home/ann/.config/postern/client.lock", { uid: 0 }),
    check: "counter",
    state: "problem",
    found: /client\.lock belongs to root/,
    fix: /^sudo chown -R ann \/home\/ann\/\.config\/postern$/,
  },
  {
    what: "a damaged counter",
    doctor: "client",
    breakIt: (machine) => machine.change(COUNTER_PATH, { bytes: new Uint8Array(7) }),
    check: "counter",
    state: "problem",
    found: /damaged: found 7 bytes, accepted are 16/,
    fix: /^postern client reseed$/,
  },
  {
    what: "a counter far ahead of the clock",
    doctor: "client",
    breakIt: (machine) =>
      machine.change(COUNTER_PATH, { bytes: new Uint8Array(counterAt(NOW_MS + 50 * HOUR_MS)) }),
    check: "counter",
    state: "problem",
    found: /2 days ahead of the clock/,
    fix: /postern client reseed/,
  },
  // The server.
  {
    what: "no configuration",
    doctor: "server",
    breakIt: (machine) => machine.files.delete(CONFIG_PATH),
    check: "configuration",
    state: "problem",
    found: /there is no \/etc\/postern\/config\.toml/,
    fix: /postern client setup/,
  },
  {
    what: "a configuration with a typo",
    doctor: "server",
    breakIt: (machine) => machine.edit(CONFIG_PATH, "socket_dir", "sokcet_dir"),
    check: "configuration",
    state: "warning",
    found: /sokcet_dir: unknown key.*did you mean socket_dir/,
    fix: /edit \/etc\/postern\/config\.toml/,
  },
  {
    what: "an empty ips",
    doctor: "server",
    breakIt: (machine) => machine.edit(CONFIG_PATH, `["${SERVER_IP}"]`, "[]"),
    check: "ips",
    state: "problem",
    found: /every packet is refused/,
    fix: /ips = \[.*systemctl reload postern-server/,
  },
  {
    what: "ips wrong behind NAT: the private address instead of the public one",
    doctor: "server",
    breakIt: (machine) => {
      machine.addresses = [{ device: "eth0", ip: parseIp("192.168.1.20") }];
      machine.edit(CONFIG_PATH, SERVER_IP, "192.168.1.20");
    },
    check: "ips",
    state: "warning",
    found: /only 192\.168\.1\.20 \(private\): behind NAT.*destination/,
    fix: /add the public address to ips/,
  },
  {
    what: "ips of another machine, though this one has a public address",
    doctor: "server",
    breakIt: (machine) => machine.edit(CONFIG_PATH, SERVER_IP, "93.184.216.99"),
    check: "ips",
    state: "warning",
    found: /none of ips \(93\.184\.216\.99\) is an address of this machine.*93\.184\.216\.34 on eth0/,
    fix: /systemctl reload postern-server/,
  },
  {
    what: "an IPv6 address that ips lacks",
    doctor: "server",
    breakIt: (machine) => machine.addresses.push({ device: "eth0", ip: parseIp("2606:2800::1") }),
    check: "ips",
    state: "warning",
    found: /over IPv6 are refused.*2606:2800::1/,
    fix: /add "2606:2800::1" to ips/,
  },
  {
    what: "a port taken by another program",
    doctor: "server",
    breakIt: (machine) => {
      machine.locked.clear();
      machine.says("ss", serverSocket({ name: "openvpn", uid: "" }));
    },
    check: "port",
    state: "problem",
    found: /UDP 34020 is taken by openvpn \(pid 77\)/,
    fix: /another port in address/,
  },
  {
    what: "a server that is down",
    doctor: "server",
    breakIt: (machine) => {
      machine.locked.clear();
      machine.says("ss", "");
    },
    check: "port",
    state: "problem",
    found: /nobody listens on UDP 34020/,
    fix: /systemctl restart postern-server.*journalctl/,
  },
  {
    what: "a service that failed",
    doctor: "server",
    breakIt: (machine) =>
      machine.says(
        "systemctl postern-server.service",
        "LoadState=loaded\nActiveState=failed\nUser=postern\nNRestarts=3\n",
      ),
    check: "service",
    state: "problem",
    found: /postern-server\.service is failed, accepted is active/,
    fix: /journalctl -u postern-server\.service/,
  },
  {
    what: "an address that is not this machine's",
    doctor: "server",
    breakIt: (machine) => machine.edit(CONFIG_PATH, "[::]:34020", "198.18.0.9:34020"),
    check: "port",
    state: "problem",
    found: /198\.18\.0\.9 is no address of this machine/,
    fix: /address = "\[::\]:34020"/,
  },
  {
    what: "a socket that hears no IPv4",
    doctor: "server",
    breakIt: (machine) => machine.says("ss", serverSocket({ host: "[::]" })),
    check: "port",
    state: "problem",
    found: /\[::\] takes no IPv4 here/,
    fix: /sysctl -w net\.ipv6\.bindv6only=0/,
  },
  {
    what: "a server that runs as root",
    doctor: "server",
    breakIt: (machine) => machine.says("ss", serverSocket({ uid: "" })),
    check: "port",
    state: "warning",
    found: /the server runs as root/,
    fix: /as the user postern/,
  },
  {
    what: "a small receive buffer",
    doctor: "server",
    breakIt: (machine) => {
      machine.says("ss", serverSocket({ buffer: 212_992, drops: 17 }));
      machine.says("cat /proc/sys/net/core/rmem_default", "212992\n");
    },
    check: "receive buffer",
    state: "warning",
    found: /212992 bytes, some 277 packets/,
    fix: /net\.core\.rmem_default=8388608/,
  },
  {
    what: "a small receive buffer where the setting stands in its file already",
    doctor: "server",
    breakIt: (machine) => {
      machine.put("/etc/sysctl.d/60-postern.conf", "-net.core.rmem_default = 8388608\n", [0, 0, 0o644]);
      machine.says("ss", serverSocket({ buffer: 212_992 }));
      machine.says("cat /proc/sys/net/core/rmem_default", "212992\n");
    },
    check: "receive buffer",
    state: "warning",
    found: /212992 bytes/,
    fix: /^\/etc\/sysctl\.d\/60-postern\.conf sets more.*sysctl --system/,
  },
  {
    what: "a firewall without a rule for the port",
    doctor: "server",
    breakIt: (machine) =>
      machine.says(
        "nft",
        "table inet f {\n chain input {\n type filter hook input priority 0; policy drop;\n tcp dport 22 accept\n }\n}\n",
      ),
    check: "firewall",
    state: "warning",
    found: /no rule names 34020/,
    fix: /udp dport 34020 accept/,
  },
  {
    what: "a key that the server may not read",
    doctor: "server",
    breakIt: (machine) => machine.change("/etc/postern/user.key", { gid: 0, mode: 0o600 }),
    check: "key files",
    state: "problem",
    found: /postern may not read \/etc\/postern\/user\.key \(root:root, mode 0600\)/,
    fix: /^chown root:postern \/etc\/postern\/user\.key && chmod 640 \/etc\/postern\/user\.key$/,
  },
  {
    what: "a key for everybody to read",
    doctor: "server",
    breakIt: (machine) => machine.change("/etc/postern/user.key", { mode: 0o644 }),
    check: "key files",
    state: "warning",
    found: /every user of this machine can read/,
    fix: /chmod 640/,
  },
  {
    what: "a key folder that the server may not enter",
    doctor: "server",
    breakIt: (machine) => machine.change("/etc/postern", { mode: 0o700 }),
    check: "key files",
    state: "problem",
    found: /postern may not enter \/etc\/postern/,
    fix: /chmod o\+x \/etc\/postern/,
  },
  {
    what: "the same key twice",
    doctor: "server",
    breakIt: (machine) => machine.put("/etc/postern/zoe.key", formatKey(USER_KEY), [0, 998, 0o640]),
    check: "key files",
    state: "problem",
    found: /zoe\.key holds the same key as \/etc\/postern\/user\.key/,
    fix: /rm \/etc\/postern\/zoe\.key/,
  },
  {
    what: "no key at all",
    doctor: "server",
    breakIt: (machine) => {
      machine.files.delete("/etc/postern/user.key");
      machine.files.delete("/etc/postern/postern-check.key");
    },
    check: "key files",
    state: "problem",
    found: /no key in \/etc\/postern/,
    fix: /client gen --key-file/,
  },
  {
    what: "a key that is missing on the server, with a table that limits it",
    doctor: "server",
    breakIt: (machine) =>
      machine.edit(CONFIG_PATH, "[keys.postern-check]", "[keys.alice]\n[keys.postern-check]"),
    check: "grants",
    state: "problem",
    found: /\[keys\.alice\] has no file alice\.key/,
    fix: /take the table out/,
  },
  {
    what: "a grant for a command that does not exist",
    doctor: "server",
    breakIt: (machine) => machine.edit(CONFIG_PATH, '["postern_check"]', '["postern_check", "open_shh"]'),
    check: "grants",
    state: "warning",
    found: /\[keys\.postern-check\] allows open_shh/,
    fix: /correct the name/,
  },
  {
    what: "a state folder that the server may not write",
    doctor: "server",
    breakIt: (machine) => machine.change("/var/lib/postern", { uid: 0, gid: 0 }),
    check: "state folder",
    state: "problem",
    found: /postern may not write \/var\/lib\/postern \(root:root, mode 0700\)/,
    fix: /chown postern \/var\/lib\/postern/,
  },
  {
    what: "a floors file that is root's since a run as root",
    doctor: "server",
    breakIt: (machine) => machine.change("/var/lib/postern/blocklist.msgpck", { uid: 0, gid: 0 }),
    check: "state folder",
    state: "problem",
    found: /may not use \/var\/lib\/postern\/blocklist\.msgpck/,
    fix: /^chown postern \/var\/lib\/postern\/blocklist\.msgpck$/,
  },
  {
    what: "a state folder for everybody to write",
    doctor: "server",
    breakIt: (machine) => machine.change("/var/lib/postern", { mode: 0o777 }),
    check: "state folder",
    state: "warning",
    found: /others may write \/var\/lib\/postern/,
    fix: /chmod 700 \/var\/lib\/postern/,
  },
  {
    what: "a floor ahead of the clock",
    doctor: "server",
    breakIt: (machine) =>
      machine.change("/var/lib/postern/blocklist.msgpck", {
        bytes: new Uint8Array(floorsAt([[USER_KEY, NOW_MS + 3 * HOUR_MS]])),
      }),
    check: "replay floors",
    state: "problem",
    found: /the floor of key user is 3 hours ahead of the clock.*next 2 hours/,
    fix: /client gen --key-file \/etc\/postern\/user\.key/,
  },
  {
    what: "damaged floors",
    doctor: "server",
    breakIt: (machine) =>
      machine.change("/var/lib/postern/blocklist.msgpck", { bytes: new Uint8Array([1, 2, 3]) }),
    check: "replay floors",
    state: "problem",
    found: /damaged/,
    fix: /mv \/var\/lib\/postern\/blocklist\.msgpck/,
  },
  {
    what: "a full disk",
    doctor: "server",
    breakIt: (machine) =>
      machine.says(
        "df -Pk",
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 100 12 100% /var\n",
      ),
    check: "disk",
    state: "problem",
    found: /full \(12 KiB left on \/var\)/,
    fix: /make room on \/var/,
  },
  {
    what: "a disk that has no room for another file",
    doctor: "server",
    breakIt: (machine) =>
      machine.says(
        "df -Pi",
        "Filesystem Inodes IUsed IFree IUse% Mounted on\n/dev/vda 100 100 0 100% /var\n",
      ),
    check: "disk",
    state: "problem",
    found: /inodes are used up/,
    fix: /make room on \/var/,
  },
  {
    what: "a commander that is down",
    doctor: "server",
    breakIt: (machine) => machine.files.delete("/run/postern/ruroco.socket"),
    check: "commander socket",
    state: "problem",
    found: /no \/run\/postern\/ruroco\.socket: the commander does not run/,
    fix: /systemctl restart postern-commander/,
  },
  {
    what: "a commander that left its socket behind",
    doctor: "server",
    breakIt: (machine) => machine.reach = "refused",
    check: "commander socket",
    state: "problem",
    found: /nobody listens on/,
    fix: /systemctl restart postern-commander/,
  },
  {
    what: "a socket that is another user's",
    doctor: "server",
    breakIt: (machine) => machine.change("/run/postern/ruroco.socket", { uid: 0, gid: 0, mode: 0o200 }),
    check: "commander socket",
    state: "problem",
    found: /postern may not connect to .*\(root:root, mode 0200\)/,
    fix: /socket_user = "postern"/,
  },
  {
    what: "a status that nobody writes any more",
    doctor: "server",
    breakIt: status({ time: new Date(NOW_MS - 3 * HOUR_MS).toISOString() }),
    check: "status",
    state: "problem",
    found: /status\.json is 3 hours old/,
    fix: /systemctl restart postern-server/,
  },
  {
    what: "no status at all",
    doctor: "server",
    breakIt: (machine) => machine.edit(CONFIG_PATH, 'status_file = "/var/lib/postern/status.json"', ""),
    check: "status",
    state: "not checked",
    found: /no status_file/,
    fix: /status_file = "\/var\/lib\/postern\/status\.json"/,
  },
  {
    what: "refused packets",
    doctor: "server",
    breakIt: status({ refused: { replayed: 12 } }),
    check: "status",
    state: "warning",
    found: /^12 packets refused \(replayed\): counter not above the floor$/,
    fix: /run postern client reseed on that client/,
  },
  {
    what: "a reload that failed",
    doctor: "server",
    breakIt: status({
      last_reload: { at: new Date(NOW_MS).toISOString(), ok: false, error: "config.toml:3: no" },
    }),
    check: "status",
    state: "problem",
    found: /the last reload failed.*config\.toml:3: no/,
    fix: /systemctl reload postern-server/,
  },
  {
    what: "a setting that waits for a restart",
    doctor: "server",
    breakIt: status({ restart_needed: ["address"] }),
    check: "status",
    state: "warning",
    found: /only after a restart: address/,
    fix: /systemctl restart postern-server/,
  },
  {
    what: "knocks that did not reach the commander",
    doctor: "server",
    breakIt: status({ forward_failures: 3 }),
    check: "status",
    state: "warning",
    found: /3 accepted knocks did not reach the commander/,
    fix: /commander doctor/,
  },
  {
    what: "a server's clock an hour and more behind",
    doctor: "server",
    breakIt: (machine) => machine.time = { aheadMs: 2 * HOUR_MS, uncertaintyMs: 10 },
    check: "clock",
    state: "problem",
    found: /2 hours behind.*beyond_skew/,
    fix: /timedatectl/,
  },
  // The commander.
  {
    what: "commands that a group may write",
    doctor: "commander",
    breakIt: (machine) => machine.change("/etc/postern/commands.toml", { gid: 1000, mode: 0o660 }),
    check: "commands",
    state: "problem",
    found: /others than root may write \/etc\/postern\/commands\.toml \(root:ann, mode 0660\)/,
    fix: /^chown root \/etc\/postern\/commands\.toml && chmod go-w \/etc\/postern\/commands\.toml$/,
  },
  {
    what: "commands with a syntax error",
    doctor: "commander",
    breakIt: (machine) => machine.edit("/etc/postern/commands.toml", '"true"', '"true'),
    check: "commands",
    state: "problem",
    found: /commands\.toml:2:[0-9]+: found no valid TOML$/,
    fix: /commander --check/,
  },
  {
    what: "no commands file",
    doctor: "commander",
    breakIt: (machine) => machine.files.delete("/etc/postern/commands.toml"),
    check: "commands",
    state: "problem",
    found: /there is no \/etc\/postern\/commands\.toml/,
    fix: /\[commands\]/,
  },
  {
    what: "no shell",
    doctor: "commander",
    breakIt: (machine) => machine.files.delete("/bin/sh"),
    check: "shell",
    state: "problem",
    found: /no \/bin\/sh/,
    fix: /apt install dash/,
  },
  {
    what: "no user for the socket",
    doctor: "commander",
    breakIt: (machine) => machine.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\n", [0, 0, 0o644]),
    check: "socket",
    state: "problem",
    found: /the user postern is not in \/etc\/passwd/,
    fix: /systemd-sysusers/,
  },
  {
    what: "a commander that is not root",
    doctor: "commander",
    breakIt: (machine) =>
      machine.says(
        "systemctl postern-commander.service",
        "LoadState=loaded\nActiveState=active\nUser=ann\nNRestarts=0\n",
      ),
    check: "user",
    state: "warning",
    found: /runs as ann: commands that need root/,
    fix: /as root/,
  },
  {
    what: "a state folder in a folder that others may write",
    doctor: "commander",
    breakIt: (machine) => machine.change("/var/lib", { mode: 0o777 }),
    check: "state folder",
    state: "problem",
    found: /may write \/var\/lib \(root:root, mode 0777\)/,
    fix: /chmod go-w \/var\/lib/,
  },
  {
    what: "commands that were changed after the start",
    doctor: "commander",
    breakIt: (machine) => machine.change("/etc/postern/commands.toml", { modifiedMs: NOW_MS - MINUTE_MS }),
    check: "commands",
    state: "warning",
    found: /changed after the commander started/,
    fix: /^systemctl restart postern-commander$/,
  },
  {
    what: "a lease whose date the clock was set back from",
    doctor: "commander",
    breakIt: leases({ dueAtMs: NOW_MS + HOUR_MS }),
    check: "leases",
    state: "warning",
    found: /should have been undone by a clock that was set back/,
    fix: /journalctl/,
  },
  {
    what: "a lease whose undo failed once",
    doctor: "commander",
    breakIt: leases({ undoFailures: 1 }),
    check: "leases",
    state: "problem",
    found: /failed 1 time, so/,
    fix: /journalctl -u postern-commander/,
  },
  {
    what: "a lease whose undo fails",
    doctor: "commander",
    breakIt: leases({ undoFailures: 4, dueAtMs: NOW_MS - HOUR_MS }),
    check: "leases",
    state: "problem",
    found: /undo of open_ssh for 198\.51\.100\.7 failed 4 times/,
    fix: /journalctl -u postern-commander/,
  },
  {
    what: "a lease that is over, and no commander",
    doctor: "commander",
    breakIt: (machine) => {
      leases({ dueAtMs: NOW_MS - HOUR_MS })(machine);
      machine.locked.clear();
    },
    check: "leases",
    state: "problem",
    found: /open_ssh for 198\.51\.100\.7 should have been undone for 60 minutes, and no commander runs/,
    fix: /systemctl restart postern-commander/,
  },
  {
    what: "a command that was cut off",
    doctor: "commander",
    breakIt: (machine) => {
      leases({ runId: "0".repeat(32) })(machine);
      machine.locked.clear();
    },
    check: "leases",
    state: "warning",
    found: /was running when its commander ended/,
    fix: /systemctl restart postern-commander/,
  },
  {
    what: "hardly any lease left",
    doctor: "commander",
    breakIt: (machine) => {
      machine.edit(CONFIG_PATH, "max_packet_age_seconds = 300", "max_leases = 2");
      leases({}, { ip: "198.51.100.8" })(machine);
    },
    check: "leases",
    state: "warning",
    found: /2 of 2 leases are in use/,
    fix: /max_leases = 4/,
  },
  {
    what: "damaged leases",
    doctor: "commander",
    breakIt: (machine) => machine.put(LEASES_PATH, "{", [0, 0, 0o600]),
    check: "leases",
    state: "problem",
    found: /leases\.json: found no JSON/,
    fix: /close by hand/,
  },
];

for (const { what, doctor, breakIt, check, state, found, fix } of BROKEN) {
  Deno.test(`the ${doctor} doctor names ${what} and its fix`, async () => {
    const machine = HEALTHY[doctor]();
    breakIt(machine);
    const findings = await examine(doctor, machine);
    const named = findings.filter((each) => each.check === check && each.state === state);
    assert(
      named.some((each) => found.test(each.what) && fix.test(each.fix ?? "")),
      JSON.stringify(findings.filter((each) => each.state !== "ok"), null, 1),
    );
  });
}

Deno.test("the server doctor tells a proof that fails, with its hint", async () => {
  const findings = await examine(
    "server",
    healthyServer(),
    new Failure("could not prove it: x", { hint: "do y" }),
  );
  const proof = findings.find(({ check }) => check === "proof");
  assert.deepEqual(proof, { check: "proof", state: "problem", what: "could not prove it: x", fix: "do y" });
});

Deno.test("the commander doctor finds nothing wrong with a lease that has just begun, or has just ended", async () => {
  for (const dueAtMs of [NOW_MS + MINUTE_MS, NOW_MS + MINUTE_MS - 2000, NOW_MS - 2000]) {
    const machine = healthyServer();
    leases({ dueAtMs })(machine);
    const findings = await examine("commander", machine);
    assert.deepEqual(findings.filter(({ state }) => state !== "ok"), [], `${dueAtMs - NOW_MS} ms left`);
  }
});

Deno.test("the client doctor leaves a server's key to the server, and a file that holds no key as it is", async () => {
  const machine = healthyClient();
  machine.asUid = 0;
  machine.change("/home/ann/user.key", { uid: 0, mode: 0o640 });
  const key = (await examine("client", machine)).filter(({ check }) => check === "key");
  assert.deepEqual(key.map(({ state }) => state), ["ok"]);
  machine.put("/home/ann/user.key", "debian\n", [0, 0, 0o644]);
  const other = (await examine("client", machine)).filter(({ check }) => check === "key");
  assert.deepEqual(other.map(({ state }) => state), ["problem"]);
  assert.match(other[0]?.what ?? "", /holds no key/);
});

Deno.test("the commander doctor tells a refusal by the runtime from one by the kernel", async () => {
  const refusals = [
    [
      new Deno.errors.NotCapable("Requires net access"),
      /no permission to connect was given/,
      /server doctor/,
    ],
    [new Deno.errors.PermissionDenied("Permission denied"), /only the server's user may connect/, /as root/],
  ] as const;
  for (const [error, what, fix] of refusals) {
    const machine = healthyServer();
    machine.connectUnix = () => Promise.reject(error);
    const socket = (await examine("commander", machine)).find(({ check }) => check === "socket");
    assert.equal(socket?.state, "not checked");
    assert.match(socket.what, what);
    assert.match(socket.fix ?? "", fix);
  }
});

Deno.test("a doctor who may not look says so for each thing, and passes none of them", async () => {
  const machine = healthyServer();
  machine.asUid = 1000;
  const findings = await examine("server", machine);
  for (const check of ["replay floors", "status"]) {
    const states = findings.filter((each) => each.check === check).map((each) => each.state);
    assert.deepEqual(states, ["not checked"], check);
  }
  assert.match(findings.find(({ check }) => check === "status")?.fix ?? "", /root/);
  const commander = await examine("commander", machine);
  assert(commander.some(({ check, state }) => check === "commands" && state === "not checked"));
});

Deno.test("a doctor off line and without tools says what it did not look at", async () => {
  const machine = healthyServer();
  for (const name of ["ss", "nft", "df -Pk", "cat /proc/sys/net/core/rmem_default"]) {
    machine.programs.set(name, null);
  }
  const findings = await runServerDoctor({
    machine,
    configPath: CONFIG_PATH,
    statusPath: undefined,
    timeFrom: "pool.ntp.org",
    offline: true,
    prove: () => Promise.resolve(),
  });
  for (const check of ["port", "firewall", "disk", "receive buffer", "clock"]) {
    assert(findings.some((each) => each.check === check && each.state === "not checked"), check);
  }
});

Deno.test("a name in a file cannot drive the terminal", async () => {
  const machine = healthyServer();
  machine.put("/etc/postern/\u001b[31mred.key", formatKey(testKey(3n)), [0, 0, 0o644]);
  const findings = await examine("server", machine);
  assert(JSON.stringify(findings).includes("\\\\u001b[31mred.key"));
});
