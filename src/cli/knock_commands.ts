/** The commands of the knock job, for `table.ts`. Plain literals: they lie on the path of every `client send`. */
import type { CommandSpec, OptionSpec } from "./command_spec.ts";
import {
  CHECK_OPTION,
  CONFIG_OPTION,
  JSON_OPTION,
  LOG_OPTION,
  STATUS_OPTION,
  STRICT_PERMISSIONS_LIMITS,
  STRICT_PERMISSIONS_OPTION,
} from "./option_specs.ts";

const ADDRESS_OPTION: OptionSpec = {
  name: "address",
  short: "a",
  type: "text",
  value: "ADDR",
  required: true,
  help: "where to knock: IP, IP:PORT, [IPV6]:PORT, HOST or HOST:PORT; port 80 if none is given",
};

const KEY_OPTION = { name: "key", short: "k", type: "text", value: "KEY" } as const;

/** What else `client send` and `client connect` share. */
const KNOCK_OPTIONS: readonly OptionSpec[] = [
  {
    name: "key-file",
    short: "K",
    type: "text",
    value: "FILE",
    help: "read the key from FILE, which keeps it out of the process list",
  },
  {
    name: "command",
    short: "c",
    type: "text",
    value: "NAME",
    default: "default",
    help: "name of the command to run, as the server's commands file spells it",
  },
  {
    name: "ip",
    short: "i",
    type: "text",
    value: "IP",
    help: "the address the command is for, if it is not the one the packet comes from",
  },
  {
    name: "permissive",
    short: "e",
    type: "flag",
    help: "let the packet arrive from another address than --ip (behind NAT or a proxy)",
  },
  {
    name: "ipv4",
    short: "4",
    type: "flag",
    help: "knock over IPv4 only (with neither or both of -4 and -6: over both)",
  },
  { name: "ipv6", short: "6", type: "flag", help: "knock over IPv6 only" },
  {
    name: "send-delay-ms",
    short: "d",
    type: "integer",
    value: "MS",
    range: [0, 60_000],
    default: "50",
    help: "pause between the IPv4 and the IPv6 packet",
  },
];

const CONFIG_FOLDER_NEEDS = {
  env: "optional: find the config folder",
  read: "optional: the counter in the config folder, a key file",
  write: "optional: the counter in the config folder",
} as const;

export const KNOCK_COMMANDS: readonly CommandSpec[] = [
  {
    path: ["client", "send"],
    summary: "send one knock",
    usage: "-a ADDR (-k KEY | -k - | -K FILE) [options]",
    description: [
      "Sends one encrypted 94-byte datagram that asks the server to run a command it has configured. The server " +
      "never answers, so a sent knock is not proof that the command ran: see `postern client connect`.",
      "The counter that protects a knock from being replayed is kept in the config folder (POSTERN_CONF_DIR, " +
      "RUROCO_CONF_DIR, $XDG_CONFIG_HOME/postern or ~/.config/postern) if its permissions are granted, and " +
      "taken from the clock otherwise.",
    ],
    options: [
      ADDRESS_OPTION,
      {
        ...KEY_OPTION,
        help: "the key itself, or - to read it from standard input (typed on a terminal, it is not shown)",
      },
      ...KNOCK_OPTIONS,
      { name: "dry-run", type: "flag", help: "say what would be sent; send nothing, use no counter" },
      JSON_OPTION,
    ],
    examples: [
      {
        what: "Run the command open_ssh",
        line: "client send -a host.example:34020 -K user.key -c open_ssh",
      },
      {
        what: "Read the key from standard input, as a password manager gives it; knock over IPv6 only",
        line: "client send -a host.example -k - -c open_ssh -6 < user.key",
      },
      {
        what: "Open the port for another address",
        line: "client send -a 192.0.2.1:34020 -K user.key -c open_ssh --ip 198.51.100.7 --permissive",
      },
    ],
    needs: { net: "resolve the address and send the packet", ...CONFIG_FOLDER_NEEDS },
  },
  {
    path: ["client", "gen"],
    summary: "make a new key",
    usage: "[--key-file FILE] [--json]",
    description: [
      "Prints a new key and nothing else, not even a line end, so that `postern client gen > user.key` is a clean " +
      "file. The same key goes to the server, as a *.key file in its config_dir.",
    ],
    options: [
      {
        name: "key-file",
        type: "text",
        value: "FILE",
        help: "write the key to FILE, readable by you alone; an existing file is never overwritten",
      },
      JSON_OPTION,
    ],
    examples: [
      { what: "Write a key that only you can read", line: "client gen --key-file user.key" },
    ],
    needs: { write: "optional: write the key file" },
  },
  {
    path: ["client", "connect"],
    summary: "knock until a TCP port opens, then pipe standard input and output through it",
    usage: "-a ADDR (-k KEY | -K FILE) --to HOST:PORT [options]",
    description: [
      "Knocks, again every three seconds (a datagram can get lost), until HOST:PORT accepts a connection, then " +
      "carries standard input to it and its answer to standard output. Messages go to standard error only.",
    ],
    options: [
      ADDRESS_OPTION,
      { ...KEY_OPTION, help: "the key itself; anybody who can list processes sees it" },
      ...KNOCK_OPTIONS,
      { name: "to", type: "text", value: "HOST:PORT", required: true, help: "the TCP port to reach" },
      {
        name: "wait",
        type: "duration",
        value: "TIME",
        range: [1, 3_600_000],
        default: "10s",
        help: "how long to keep trying: 500ms, 10s, 2m",
      },
    ],
    examples: [
      {
        what: "Reach ssh on a closed port in one gesture",
        line: "client connect -a host.example:34020 -K user.key -c open_ssh --to host.example:22",
      },
      {
        what: "The same for every ssh and scp to that host, in ~/.ssh/config",
        line: "client connect -a %h:34020 -K ~/user.key -c open_ssh --to %h:%p",
        sshHost: "host.example",
      },
    ],
    needs: { net: "resolve the addresses, send the packets and connect", ...CONFIG_FOLDER_NEEDS },
  },
  {
    path: ["client", "reseed"],
    summary: "start the stored counter over at the present time",
    usage: "[--json]",
    description: [
      "Use this when the counter file in the config folder is damaged, or ran far ahead because a clock was once " +
      "wrong. Servers refuse a counter that is not above the last one they accepted.",
    ],
    options: [JSON_OPTION],
    examples: [{ what: "Start the counter over", line: "client reseed" }],
    needs: {
      env: "find the config folder",
      read: "the counter in the config folder",
      write: "the counter in the config folder",
    },
  },
  {
    path: ["server", "knock"],
    summary: "take knocks on a UDP port and hand them to the commander",
    usage: "[-c FILE] [options]",
    description: [
      "Receives, decrypts and checks knocks, and forwards the accepted ones to the commander's local socket. It " +
      "never sends a packet. SIGHUP reloads keys, ips, limits and grants; SIGTERM ends it after finishing " +
      "accepted work.",
      STRICT_PERMISSIONS_LIMITS,
      "`postern server` means `postern server knock`.",
    ],
    options: [
      CONFIG_OPTION,
      STATUS_OPTION,
      LOG_OPTION,
      CHECK_OPTION,
      STRICT_PERMISSIONS_OPTION,
    ],
    examples: [
      { what: "Run with the configuration in /etc/postern", line: "server" },
      {
        what: "Check a configuration before a reload",
        line: "server --config /etc/ruroco/config.toml --check",
      },
    ],
    needs: {
      net: "listen on the configured address, connect to the commander's socket",
      read: "configuration, keys, replay floors",
      write: "replay floors, status file",
    },
  },
  {
    path: ["commander", "knock"],
    summary: "run the configured commands that the server forwards",
    usage: "[-c FILE] [--commands FILE] [options]",
    description: [
      "Listens on a local socket for the server's requests and runs the command each one names, with the " +
      "knocker's address in RUROCO_IP and POSTERN_IP. Undoes what is due, also after a crash or a reboot.",
      STRICT_PERMISSIONS_LIMITS,
      "`postern commander` means `postern commander knock`.",
    ],
    options: [
      CONFIG_OPTION,
      {
        name: "commands",
        type: "text",
        value: "FILE",
        help: "commands file (default: commands.toml beside the configuration file)",
      },
      LOG_OPTION,
      CHECK_OPTION,
      STRICT_PERMISSIONS_OPTION,
    ],
    examples: [
      { what: "Run with the configuration in /etc/postern", line: "commander" },
      { what: "Check a commands file", line: "commander --commands /etc/postern/commands.toml --check" },
    ],
    needs: {
      net: "the local socket",
      read: "configuration, commands, leases",
      write: "the local socket, leases",
      run: "/bin/sh, for the commands",
    },
  },
];
