/** The commands of the manage job, for `table.ts`. Plain literals: they lie on the path of every `client send`. */
import type { CommandSpec, OptionSpec } from "./command_spec.ts";
import {
  CHECK_OPTION,
  JSON_OPTION,
  LOG_OPTION,
  STRICT_PERMISSIONS_LIMITS,
  STRICT_PERMISSIONS_OPTION,
} from "./option_specs.ts";

const SERVER_DIR: OptionSpec = {
  name: "dir",
  type: "text",
  value: "DIR",
  default: "/var/lib/postern-manage",
  help: "the folder of the server: keys, certificates, registry, policy.toml",
};

const AGENT_DIR: OptionSpec = {
  name: "dir",
  type: "text",
  value: "DIR",
  default: "/var/lib/postern-agent",
  help: "the folder of the agent: its key, agent.toml, what it knows of its server",
};

const CLIENT_DIR: OptionSpec = {
  name: "dir",
  type: "text",
  value: "DIR",
  help: "the folder with your key and known hosts (default: manage in the config folder)",
};

const ACCEPT_KEY: OptionSpec = {
  name: "accept-key",
  type: "flag",
  help: "take the key that the host has now in the place of the one that is known",
};

const HOST_OPERAND = { value: "HOST", help: "name of a host, as `postern client hosts` shows it" } as const;

const DIR_NET = {
  net: "connect to the management server",
  read: "your key, the server's certificate, known hosts",
  write: "known hosts, the newest head of the server's audit",
  env: "optional: find the config folder",
} as const;

const REGISTRY = {
  read: "the folder of the server",
  write: "the registry and its audit",
} as const;

const MINUTE_MS = 60_000, DAY_MS = 86_400_000;

export const MANAGE_COMMANDS: readonly CommandSpec[] = [
  {
    path: ["client", "join"],
    summary: "register as an administrator of a management server, with a token from its operator",
    usage: "TOKEN [--dir DIR]",
    description: [
      "Makes a key of your own on this machine and registers it with the server that the token names. The token is good " +
      "for one key; if the answer is lost, run the same command again.",
      "The operator makes the token by `postern server manage invite admin NAME`. Then `postern client hosts` shows what " +
      "you may reach.",
    ],
    operands: [{ value: "TOKEN", required: true, help: "the token; - reads it from standard input" }],
    options: [CLIENT_DIR],
    examples: [
      {
        what: "Join, and paste the token as standard input, where no history keeps it",
        line: "client join -",
      },
    ],
    needs: { ...DIR_NET, write: "your key, the server's certificate" },
  },
  {
    path: ["client", "identity"],
    summary: "print your name and public key, as hosts pin them",
    usage: "[--dir DIR]",
    description: [
      "Prints NAME:KEY. On a host, `postern commander agent trust NAME:KEY` makes its agent obey nobody but the " +
      "administrators it trusts, whatever its server says.",
    ],
    options: [CLIENT_DIR],
    examples: [{ what: "What the operator of a host wants to know", line: "client identity" }],
    needs: { read: "your name and key", env: "optional: find the config folder" },
  },
  {
    path: ["client", "hosts"],
    summary: "list the hosts that you may reach, and whether they are there",
    usage: "[--watch] [--json] [--dir DIR]",
    description: [
      "Shows name, state and since when, latency from the server, tags, version and open sessions of every host that the " +
      "server's policy lets you do anything on.",
    ],
    options: [
      { name: "watch", type: "flag", help: "go on, and show what changes" },
      {
        ...JSON_OPTION,
        help: "print one line of JSON with an array of hosts; with --watch a line for each change",
      },
      CLIENT_DIR,
    ],
    examples: [
      { what: "The hosts", line: "client hosts" },
      { what: "Names of those that are online, for a program", line: "client hosts --json" },
    ],
    needs: DIR_NET,
  },
  {
    path: ["client", "shell"],
    summary: "open a shell on a host",
    usage: "HOST [--detach] [--record FILE] [options] | --attach ID",
    description: [
      "Opens a terminal on the host, encrypted from here to there: the server in between sees who, where and when, and " +
      "never what. The exit code is the shell's; 255 if there was none or it was lost.",
      "With --detach the shell outlives a lost link: the client connects again by itself, and within the host's grace " +
      "time --attach ID takes it up from anywhere with your key, with the output that was missed.",
      "Keys at the beginning of a line: ~. leaves, ~d leaves a --detach shell running, ~? shows these, ~~ is one ~.",
    ],
    operands: [HOST_OPERAND],
    options: [
      { name: "detach", type: "flag", help: "let the shell outlive a lost link and ~d" },
      { name: "attach", type: "text", value: "ID", help: "take up the shell of that id again" },
      {
        name: "record",
        type: "text",
        value: "FILE",
        help: "write what the host prints into a new FILE (asciicast v2), for `postern client replay`",
      },
      ACCEPT_KEY,
      CLIENT_DIR,
    ],
    examples: [
      { what: "A shell", line: "client shell web1" },
      { what: "One that survives a train tunnel", line: "client shell web1 --detach" },
      { what: "Take it up from another machine", line: "client shell --attach 3f9a0c41d2b7e655" },
    ],
    needs: { ...DIR_NET, write: "known hosts, the newest head of the server's audit, --record FILE" },
  },
  {
    path: ["client", "exec"],
    summary: "run a program on a host, or on all hosts with a tag",
    usage: "HOST | --all-tagged TAG [options] -- PROGRAM [ARGUMENT...]",
    description: [
      "Runs the program without a shell, with the arguments as they are. On one host standard input, output and error are " +
      "passed through apart, and the exit code is the program's; 255 if it could not be run or the link was lost.",
      "With --all-tagged it runs on every host with the tag that the policy allows; each line of output begins with the " +
      "name of its host, standard input is not passed on, and the exit code is 1 if it failed anywhere.",
    ],
    operands: [HOST_OPERAND],
    rest: { value: "PROGRAM [ARGUMENT...]", help: "what is run, as it is" },
    options: [
      { name: "all-tagged", type: "text", value: "TAG", help: "run it on every host with this tag" },
      {
        name: "parallel",
        type: "integer",
        value: "N",
        range: [1, 100],
        default: "16",
        help: "with --all-tagged: on how many hosts at once",
      },
      {
        ...JSON_OPTION,
        help:
          "with --all-tagged: print a line of JSON for each host: its exit code and output, or why there is none",
      },
      ACCEPT_KEY,
      CLIENT_DIR,
    ],
    examples: [
      { what: "One program", line: "client exec web1 -- uptime" },
      { what: "A pipe through a host", line: "client exec db1 -- pg_dump shop >shop.sql" },
      { what: "On many hosts", line: "client exec --all-tagged prod -- systemctl is-active nginx" },
    ],
    needs: DIR_NET,
  },
  {
    path: ["client", "forward"],
    summary: "make ports that a host can reach ports of this machine",
    usage: "HOST [BIND:]PORT[:HOST:PORT]... [--socks [BIND:]PORT] [options]",
    description: [
      "Listens here and passes each connection through the host to where that can reach, encrypted from here to the host. " +
      "Remote desktops are this: `postern client forward pc7 3389` for RDP, 5900 for VNC.",
      "5432 is port 5432 of this machine (127.0.0.1) to port 5432 of the host itself; 8080:10.0.0.5:80 is port 8080 here " +
      "to 10.0.0.5 as the host reaches it. Port 0 here takes a free one. It says each address once it listens, and goes " +
      "on until Ctrl-C; a lost link is made anew.",
    ],
    operands: [
      HOST_OPERAND,
      { value: "FORWARD", many: true, help: "[BIND:]PORT[:HOST:PORT], port here and target there" },
    ],
    options: [
      {
        name: "socks",
        type: "text",
        value: "[BIND:]PORT",
        help: "listen as a SOCKS5 proxy: programs choose the targets, which the host resolves",
      },
      {
        name: "target",
        type: "text",
        value: "PATTERN,...",
        help: "what --socks may be used for, if the policy does not allow *:*, such as 10.0.0.5:*,*.lan:80",
      },
      ACCEPT_KEY,
      CLIENT_DIR,
    ],
    examples: [
      { what: "The database of a host", line: "client forward db1 5432" },
      {
        what: "The desktop of a Windows machine in its network",
        line: "client forward gate 3389:10.0.0.7:3389",
      },
      { what: "A browser in its network", line: "client forward gate --socks 1080" },
    ],
    needs: { ...DIR_NET, net: "connect to the management server; listen on the local ports" },
  },
  {
    path: ["client", "replay"],
    summary: "play the recording of a shell",
    usage: "FILE [--speed X] [--idle-limit TIME]",
    description: [
      "Plays an asciicast v2 file as it was recorded by --record or by a host. Whoever wrote the recording drives your " +
      "terminal, as a remote shell would: play what you trust. Where standard output is no terminal it prints without " +
      "waiting.",
    ],
    operands: [{ value: "FILE", required: true, help: "the recording" }],
    options: [
      {
        name: "speed",
        type: "text",
        value: "X",
        default: "1",
        help: "how many times as fast, such as 2 or 0.5",
      },
      {
        name: "idle-limit",
        type: "duration",
        value: "TIME",
        range: [0, DAY_MS],
        default: "2s",
        help: "longest pause",
      },
    ],
    examples: [{ what: "Twice as fast", line: "client replay web1.cast --speed 2" }],
    needs: { read: "the recording" },
  },
  {
    path: ["server", "manage"],
    summary: "keep hosts that only dial out, and administrators, together",
    usage: "[--dir DIR] [--bind ADDR] [options]",
    description: [
      "Hosts and administrators dial this server. It knows who may do what where, joins sessions together and writes the " +
      "audit. Sessions are encrypted between administrator and host: it can read none of them.",
      "First `postern server manage init`, then this. While it runs, `postern server manage invite`, `revoke`, `list` and " +
      "`audit` work beside it, and policy.toml is read again when it has changed.",
      "SIGTERM ends it at once; hosts come back by themselves.",
      STRICT_PERMISSIONS_LIMITS,
    ],
    options: [
      SERVER_DIR,
      {
        name: "bind",
        type: "text",
        value: "ADDR",
        default: "[::]:7022",
        help: "where to listen: an IP literal with a port; [::] takes IPv4 too",
      },
      LOG_OPTION,
      CHECK_OPTION,
      STRICT_PERMISSIONS_OPTION,
    ],
    examples: [
      { what: "Run it on port 7022", line: "server manage" },
      { what: "Elsewhere", line: "server manage --dir manage --bind 127.0.0.1:7022" },
    ],
    needs: { net: "listen on the address; given up once it listens", ...REGISTRY },
  },
  {
    path: ["server", "manage", "init"],
    summary: "make keys, certificates, registry and policy of a new management server",
    usage: "--address HOST:PORT[,HOST:PORT...] [--dir DIR]",
    description: [
      "Makes the folder of a server, readable by nobody else. The addresses are where others reach it, and become part of " +
      "every token. The policy.toml it writes lets every invited administrator do everything; read it.",
      "Prefer names to numbers in the addresses: to move the server later, stop it, take the folder along, and let the " +
      "name lead there.",
    ],
    options: [
      {
        name: "address",
        type: "text",
        value: "HOST:PORT,...",
        required: true,
        help: "where hosts and administrators reach the server; several are tried side by side",
      },
      SERVER_DIR,
    ],
    examples: [
      { what: "A new server", line: "server manage init --address manage.example:7022" },
    ],
    needs: REGISTRY,
  },
  {
    path: ["server", "manage", "invite"],
    summary: "print a token by which a host or an administrator joins, once",
    usage: "host|admin NAME [--tag TAG,...] [--expires TIME] [--replace] [--dir DIR]",
    description: [
      "Prints the token alone on standard output. It carries the server's addresses and certificate and a secret, and is " +
      "good for the first key that shows it, until it expires or is revoked. Whoever has it can join: send it like a " +
      "password.",
    ],
    operands: [
      { value: "KIND", required: true, choices: ["host", "admin"], help: "host or admin" },
      { value: "NAME", required: true, help: "its name: a-z, 0-9, dots, dashes, underscores" },
    ],
    options: [
      {
        name: "tag",
        type: "text",
        value: "TAG,...",
        help: "tags of a host, for the policy and `client exec`",
      },
      {
        name: "expires",
        type: "duration",
        value: "TIME",
        range: [MINUTE_MS, 30 * DAY_MS],
        default: "1h",
        help: "how long the token is good: 10m, 1h, 72h",
      },
      {
        name: "replace",
        type: "flag",
        help: "let it take the place of the one that has the name, once it joins",
      },
      SERVER_DIR,
    ],
    examples: [
      { what: "A host of the group prod", line: "server manage invite host web1 --tag prod" },
      { what: "A colleague", line: "server manage invite admin alice --expires 10m" },
    ],
    needs: REGISTRY,
  },
  {
    path: ["server", "manage", "revoke"],
    summary: "shut out a host or an administrator, or take an invitation back, at once",
    usage: "host|admin|invite NAME [--dir DIR]",
    description: [
      "Its links, sessions and detached sessions end within a second where the server runs. The audit keeps its rows, and " +
      "the name can be invited again.",
    ],
    operands: [
      { value: "KIND", required: true, choices: ["host", "admin", "invite"], help: "host, admin or invite" },
      { value: "NAME", required: true, help: "its name" },
    ],
    options: [SERVER_DIR],
    examples: [{ what: "A lost laptop", line: "server manage revoke admin alice" }],
    needs: REGISTRY,
  },
  {
    path: ["server", "manage", "list"],
    summary: "list hosts, administrators and open invitations",
    usage: "[--json] [--dir DIR]",
    description: ["Prints what the registry knows, also while no server runs."],
    options: [JSON_OPTION, SERVER_DIR],
    examples: [{ what: "Everything", line: "server manage list" }],
    needs: REGISTRY,
  },
  {
    path: ["server", "manage", "audit"],
    summary: "print the audit, or prove that nothing in it was changed",
    usage: "[--verify] [--head FILE] [--limit N] [--json] [--dir DIR]",
    description: [
      "Prints who did what, where, when and with which exit code, the newest rows last. Each row has the hash of the one " +
      "before in its own.",
      "--verify looks at every row. That rows were cut off at the end can only be seen against a head that was kept " +
      "elsewhere: clients and agents keep the newest one in their folder, in the file head.",
    ],
    options: [
      { name: "verify", type: "flag", help: "check the whole chain, and say what is wrong with it" },
      {
        name: "head",
        type: "text",
        value: "FILE",
        help: "with --verify: a head kept by a client or an agent",
      },
      {
        name: "limit",
        type: "integer",
        value: "N",
        range: [1, 1_000_000],
        default: "100",
        help: "how many of the newest rows are printed",
      },
      { ...JSON_OPTION, help: "print a line of JSON for each row; with --verify one line" },
      SERVER_DIR,
    ],
    examples: [
      { what: "The newest rows", line: "server manage audit" },
      { what: "Against a head from an administrator", line: "server manage audit --verify --head head" },
    ],
    needs: REGISTRY,
  },
  {
    path: ["server", "manage", "rotate-ca"],
    summary: "change the certificate authority without cutting off a host",
    usage: "[--finish] [--dir DIR]",
    description: [
      "Makes a new authority, which the server hands to every host and administrator over links that are proven by the old " +
      "one. Both are believed until all have it; then, or with --finish, the new one alone is used. Who has not been " +
      "online since needs a new token after --finish; `postern server manage list` shows who that is.",
    ],
    options: [
      { name: "finish", type: "flag", help: "use the new one alone, though some do not have it yet" },
      SERVER_DIR,
    ],
    examples: [{ what: "Begin", line: "server manage rotate-ca" }],
    needs: REGISTRY,
  },
  {
    path: ["commander", "agent"],
    summary: "make this host reachable through a management server that it dials",
    usage: "[--dir DIR] [options] | --join TOKEN",
    description: [
      "Keeps one connection to the server, for ever, and runs shells, programs and forwards for administrators. The host " +
      "has the last word: agent.toml in its folder says what may be done here and by whom, whatever the server says.",
      "First `postern commander agent --join TOKEN`, with a token from `postern server manage invite host NAME`: it makes " +
      "the host's key, writes agent.toml with every default, and ends. Then this.",
      "Whoever is refused is told so by name. agent.toml is read again when it has changed; what it no longer allows ends " +
      "within a second.",
      STRICT_PERMISSIONS_LIMITS,
    ],
    options: [
      AGENT_DIR,
      {
        name: "join",
        type: "text",
        value: "TOKEN",
        help: "register this host and end; - reads the token from standard input",
      },
      LOG_OPTION,
      CHECK_OPTION,
      STRICT_PERMISSIONS_OPTION,
    ],
    examples: [
      { what: "Join, and paste the token as standard input", line: "commander agent --join -" },
      { what: "Run", line: "commander agent" },
    ],
    needs: {
      net: "connect to its servers, and to the targets of forwards that agent.toml allows",
      run: "the shell, which starts what sessions run",
      read: "its folder",
      write: "its folder",
      sys: "name and user of this host",
    },
  },
  {
    path: ["commander", "agent", "trust"],
    summary: "let this host obey only administrators whose keys it has pinned",
    usage: "NAME | NAME:KEY [--dir DIR]",
    description: [
      "Adds an administrator to admins in agent.toml. From the first one on, the host refuses every session that none of " +
      "them has signed: a server that was broken into can route, and command nothing.",
      "NAME:KEY is what `postern client identity` prints. NAME alone takes the key last seen under that name on this host; " +
      "compare the fingerprint it shows.",
    ],
    operands: [{
      value: "NAME",
      required: true,
      help: "NAME:KEY, or the NAME of somebody who was here before",
    }],
    options: [AGENT_DIR],
    examples: [{ what: "Trust whoever was here as alice", line: "commander agent trust alice" }],
    needs: { read: "the folder of the agent", write: "agent.toml" },
  },
];
