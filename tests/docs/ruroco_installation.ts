/** A machine on which ruroco 0.14 runs as its wizard sets it up, with stand-ins for its programs. */
import { repositoryFolder } from "../../scripts/lab.ts";
import { rurocoKey } from "../reference/ruroco.ts";
import { until } from "../e2e/until.ts";
import { BootedMachine } from "./booted_machine.ts";

/** The machine's own name and address, and its log of what ran. */
export const HOST = "server.example";
export const IP = "203.0.113.9";
export const RAN = "/var/log/ran";
export const CLIENT_FOLDER = "/root/client";
/** Where the page has its reader put the executables of Postern. */
export const RELEASE_FOLDER = "/root/postern";
export const RECORDED = `${CLIENT_FOLDER}/recorded`;

const REPOSITORY = "/opt/postern-repository";
const DENO = "/opt/deno";
const PROGRAM = `${REPOSITORY}/tests/docs/ruroco_program.ts`;

const CONFIG = `# MANDATORY - public IP addresses of your server
ips = ["${IP}", "dead:beef:dead:beef:dead:beef:dead:beef"]
config_dir = "/etc/ruroco/"
blocklist_dir = "/var/lib/ruroco/"
socket_dir = "/run/ruroco/"
ntp = "system"               # OPTIONAL  - of an older version
socket_user = "ruroco"
socket_group = "ruroco"
max_clock_skew_seconds = 3600
allow_non_routable_ips = true`; // no line end: some editors leave it so

const COMMANDS =
  `# Commands run by the commander (root). $RUROCO_IP is set to the source IP of the client request.
[commands]                   # MANDATORY - but can be empty
open_port = "echo open $RUROCO_IP >> ${RAN}"
slow_task = { cmd = "echo slow $RUROCO_IP >> ${RAN}", timeout_sec = 120 }
`;

/** ruroco's units, less their hardening, which the stand-ins' runtime cannot live with. */
const UNITS = {
  "ruroco.socket": `[Unit]
PartOf=ruroco.service
[Socket]
ListenDatagram=0.0.0.0:80
[Install]
WantedBy=sockets.target
`,
  "ruroco.service": `[Unit]
Requires=ruroco.socket ruroco-commander.service
After=ruroco.socket ruroco-commander.service
[Service]
ExecStart=/usr/local/bin/ruroco-server --config /etc/ruroco/config.toml
StandardInput=socket
StandardError=journal
Restart=always
User=ruroco
Group=ruroco
PrivateTmp=true
StateDirectory=ruroco
UMask=0077
[Install]
WantedBy=multi-user.target
`,
  "ruroco-commander.service": `[Service]
ExecStart=/usr/local/bin/ruroco-commander --config /etc/ruroco/config.toml --commands /etc/ruroco/commands.toml
Restart=always
PrivateTmp=true
RuntimeDirectory=ruroco
RuntimeDirectoryMode=0755
UMask=0077
[Install]
WantedBy=multi-user.target
`,
} as const;

/** @param releaseFolder of the host, with the executables of Postern as `deno task compile` makes them */
export async function bootRurocoMachine(releaseFolder: string): Promise<BootedMachine> {
  const machine = await BootedMachine.boot({
    [REPOSITORY]: repositoryFolder.replace(/\/$/, ""),
    [DENO]: Deno.execPath(),
    "/opt/release": releaseFolder,
  });
  try {
    await install(machine);
    return machine;
  } catch (error) {
    await machine[Symbol.asyncDispose]();
    throw error;
  }
}

async function install(machine: BootedMachine): Promise<void> {
  await machine.run(`
ip address add ${IP}/32 dev lo
echo '${IP} ${HOST}' >> /etc/hosts
useradd --system ruroco --shell /bin/false
mkdir -p /etc/ruroco ${CLIENT_FOLDER} ${RELEASE_FOLDER}
for role in setup server commander; do
  ln -s /opt/release/postern-$role-${Deno.build.target} ${RELEASE_FOLDER}/postern-$role
done
rm -f ${RAN}
`);
  for (const role of ["server", "commander", "client"]) {
    const script = `#!/bin/sh
export RUROCO_CONF_DIR=${CLIENT_FOLDER} RUROCO_RECORD=${RECORDED} DENO_DIR=/tmp/deno NO_COLOR=1
exec ${DENO} run --no-config --no-lock --quiet --unstable-net -A ${PROGRAM} ${role} "$@"
`;
    await machine.write(`/usr/local/bin/ruroco-${role}`, script, "0755");
  }
  for (const [name, text] of Object.entries(UNITS)) await machine.write(`/etc/systemd/system/${name}`, text);
  // With the modes and owners that ruroco's own end-to-end test gives them.
  await machine.write("/etc/ruroco/config.toml", CONFIG, "0600");
  const key = rurocoKey();
  await machine.write("/etc/ruroco/user.key", `${key}\n`, "0400");
  await machine.run("chown -R ruroco:ruroco /etc/ruroco");
  await machine.write("/etc/ruroco/commands.toml", COMMANDS, "0600");
  await machine.write(`${CLIENT_FOLDER}/user.key`, `${key}\n`, "0600");
  await machine.run(`
systemctl daemon-reload
systemctl enable --quiet ruroco.service ruroco-commander.service ruroco.socket
systemctl start ruroco.service ruroco-commander.service ruroco.socket
`);
  // A client counts on from the time of its first knock, so one that is sent before the server has taken its floors from
  // the clock stays below them for ever: as with the real program, whose users do not knock while it is being installed.
  await until("the server has its floors and the commander its socket", async () => {
    return (await machine.attempt(
      "test -e /var/lib/ruroco/blocklist.msgpck && test -S /run/ruroco/ruroco.socket",
    )).code === 0;
  }, { timeoutMs: 60_000 });
}

/** Sends a recorded datagram again, to a port of the machine. */
export async function replayRecorded(machine: BootedMachine, file: string, port: number): Promise<void> {
  await machine.run(
    `DENO_DIR=/tmp/deno ${DENO} run --no-config --no-lock --quiet --unstable-net -A ${PROGRAM} replay ${file} ${IP}:${port}`,
  );
}
