/**
 * The commands that install, check and renew Postern, for `table.ts`. Plain literals: they lie on the path of every
 * `client send`.
 */
import type { CommandSpec, OptionSpec } from "./command_spec.ts";
import { CONFIG_OPTION, JSON_OPTION } from "./option_specs.ts";

const ROOT_OPTION: OptionSpec = {
  name: "root",
  type: "text",
  value: "DIR",
  help: "work on the system below DIR instead of the running one; starts and proves nothing",
};

const DRY_RUN_OPTION: OptionSpec = {
  name: "dry-run",
  type: "flag",
  help: "print every step; change nothing",
};

const TIME_FROM_OPTION: OptionSpec = {
  name: "time-from",
  type: "text",
  value: "SOURCE",
  default: "pool.ntp.org",
  help: "what to compare the clock with: an NTP server as HOST or HOST:PORT, or an https:// address",
};

const OFFLINE_OPTION: OptionSpec = {
  name: "offline",
  type: "flag",
  help: "ask nobody on the network: leaves out the checks of clock and names",
};

const COMMANDS_OPTION: OptionSpec = {
  name: "commands",
  type: "text",
  value: "FILE",
  help: "commands file (default: commands.toml beside the configuration file)",
};

export const SHIP_COMMANDS: readonly CommandSpec[] = [
  {
    path: ["client", "setup"],
    role: "setup",
    summary: "make this machine a server: user, folders, key, units, and a knock that proves it",
    usage: "[--ips IP,IP] [options]",
    description: [
      "Sets up server and commander on this machine as root: their user, folders and modes, configuration, a first " +
      "key, executables, systemd units, completions and manual pages; starts them and proves with a real packet that " +
      "a knock runs a command. What is there already is kept; run again, it changes only what is missing.",
      "If a step fails, what was done before it is taken back. --uninstall removes what setup made, and keeps what " +
      "you changed or added since.",
    ],
    options: [
      {
        name: "ips",
        type: "text",
        value: "IP,IP",
        help: "the addresses under which clients reach this machine (default: its own public addresses)",
      },
      {
        name: "port",
        type: "integer",
        value: "PORT",
        range: [1, 65_535],
        default: "34020",
        help: "UDP port to listen on",
      },
      {
        name: "key-name",
        type: "text",
        value: "NAME",
        default: "user",
        help: "name of the first key: it lies in /etc/postern/NAME.key",
      },
      {
        name: "from",
        type: "text",
        value: "DIR",
        help: "folder of the executables to install (default: this executable itself, or its folder)",
      },
      ROOT_OPTION,
      DRY_RUN_OPTION,
      { name: "uninstall", type: "flag", help: "remove what setup made" },
      { name: "purge", type: "flag", help: "with --uninstall: also remove keys, configuration and state" },
      { name: "no-qr", type: "flag", help: "do not draw the key as a QR code" },
      JSON_OPTION,
    ],
    examples: [
      { what: "See what would be done", line: "client setup --dry-run" },
      {
        what: "Set up behind NAT, where the public address is not this machine's own",
        line: "client setup --ips 203.0.113.9",
      },
      { what: "Take it all back", line: "client setup --uninstall" },
    ],
    needs: {
      net: "send the proving knock",
      read: "what is there already",
      write: "the files it installs",
      run: "systemctl, useradd and the like",
      sys: "network interfaces, user id",
    },
  },
  {
    path: ["client", "doctor"],
    role: "setup",
    summary: "find out why a knock from this machine does nothing",
    usage: "[-a ADDR] [-K FILE] [options]",
    description: [
      "Looks at clock, names, routes, key and counter of this machine, and names a fix for each finding. Changes " +
      "nothing. Exits with 1 if there is a problem; what could not be checked is told, and is none.",
    ],
    options: [
      {
        name: "address",
        short: "a",
        type: "text",
        value: "ADDR",
        help:
          "the server to knock on, as in `postern client send`; without it only this machine is looked at",
      },
      { name: "key-file", short: "K", type: "text", value: "FILE", help: "the key to look at" },
      TIME_FROM_OPTION,
      OFFLINE_OPTION,
      JSON_OPTION,
    ],
    examples: [{
      what: "Look at everything on the way to a server",
      line: "client doctor -a host.example:34020 -K user.key",
    }],
    needs: {
      net: "resolve names, ask for the time",
      read: "key, counter, configuration folder",
      env: "find the configuration folder",
      sys: "network interfaces, user id",
      run: "ip, to ask for routes",
    },
  },
  {
    path: ["client", "update"],
    role: "setup",
    summary: "replace the installed executables by a signed release, and prove a knock before and after",
    usage: "--from URL [options]",
    description: [
      "Reads a signed release, verifies every file before any is replaced, proves the new server and commander with a " +
      "real knock beside the running ones, swaps them in, proves again, and goes back if that fails. If it is broken " +
      "off, also by a crash, the next update first puts the old executables back.",
      "A release is an Ed25519-signed manifest with an expiry, and the executables. --force accepts an older " +
      "version; nothing makes it accept a bad signature, a manifest that has expired, or another file.",
    ],
    options: [
      {
        name: "from",
        type: "text",
        value: "URL",
        required: true,
        help: "where releases are: https://HOST/PATH, file:///PATH, or http:// on this very machine",
      },
      { name: "version", type: "text", value: "V", help: "this version instead of the latest" },
      {
        name: "role",
        type: "text",
        value: "ROLE",
        choices: ["client", "server", "commander", "setup"],
        help: "only this executable (default: every one that is installed)",
      },
      {
        name: "key",
        type: "text",
        value: "FILE",
        help: "public key of the publisher, in base64 (default: the one built in)",
      },
      { name: "force", type: "flag", help: "accept an older version than the installed one" },
      { name: "skip-proof", type: "flag", help: "swap without proving a knock" },
      ROOT_OPTION,
      DRY_RUN_OPTION,
      JSON_OPTION,
    ],
    examples: [
      {
        what: "See what would be replaced",
        line: "client update --from https://releases.example/postern --dry-run",
      },
      {
        what: "Update from a folder, such as a mounted stick",
        line: "client update --from file:///mnt/postern --key release.key.pub",
      },
    ],
    needs: {
      net: "fetch the release, send the proving knock",
      read: "installed executables, a release in a folder",
      write: "the executables it replaces",
      run: "systemctl and the executables, through /bin/sh",
      sys: "user id",
    },
  },
  {
    path: ["server", "doctor"],
    role: "setup",
    summary: "find out why the server refuses or never sees a knock",
    usage: "[-c FILE] [options]",
    description: [
      "Looks at configuration, addresses, port, keys, files, clock and the server's own counts, and names a fix for " +
      "each finding. Changes nothing; as root it sees most. Where setup made a key for it, it ends with a real knock.",
    ],
    options: [
      CONFIG_OPTION,
      {
        name: "status",
        type: "text",
        value: "FILE",
        help: "the status file, if --status told the server of one",
      },
      TIME_FROM_OPTION,
      OFFLINE_OPTION,
      JSON_OPTION,
    ],
    examples: [{ what: "Look at the installed server", line: "server doctor" }],
    needs: {
      net: "ask for the time, the commander's socket, a proving knock over loopback",
      read: "configuration, keys, state and status file",
      write: "only to connect to the commander's socket",
      sys: "network interfaces, user id",
      run: "systemctl, ss, nft, df and cat, to look",
    },
  },
  {
    path: ["commander", "doctor"],
    role: "setup",
    summary: "find out why an accepted knock runs nothing",
    usage: "[-c FILE] [--commands FILE] [options]",
    description: [
      "Looks at commands, socket, leases and files of the commander, and names a fix for each finding. Changes " +
      "nothing; as root it sees most.",
    ],
    options: [CONFIG_OPTION, COMMANDS_OPTION, JSON_OPTION],
    examples: [{ what: "Look at the installed commander", line: "commander doctor" }],
    needs: {
      net: "the local socket",
      read: "configuration, commands, leases",
      write: "only to connect to the local socket",
      sys: "user id",
      run: "systemctl and df, to look",
    },
  },
  {
    path: ["permissions"],
    summary: "print exactly which permissions a command needs, and why",
    usage: "[ROLE [WORD...]] [options]",
    description: [
      "Prints the `deno run` line that grants a command what it needs for this configuration and nothing else, then, as " +
      "comments, what decides each permission and why it is there. For a client: the line without anything " +
      "optional, and with all of it.",
      'With --json: {"commands": [{"command", "flags": [FLAG], "minimal_flags": [FLAG], "permissions": [{"kind", ' +
      '"access": "allow" or "deny", "scope": TEXT or true for the whole kind, "from", "why", "optional"}]}]}; ' +
      "minimal_flags leaves out what is optional.",
      "With --flags, the flags alone, one a line; `postern permissions --flags -- WORDS` those of one exact command " +
      "line, which is not carried out. Only the configuration file is read, and the variables that name the " +
      "client's config folder.",
    ],
    operands: [
      {
        value: "ROLE",
        choices: ["client", "server", "commander", "setup"],
        help: "everything that the executable of this role does (default: every command)",
      },
      { value: "WORD", many: true, help: "one command: `permissions server doctor`" },
    ],
    rest: { value: "WORDS", isOwn: true, help: "a command line: print what exactly this one needs" },
    options: [
      CONFIG_OPTION,
      COMMANDS_OPTION,
      {
        name: "status",
        type: "text",
        value: "FILE",
        help: "the status file, if --status tells the server of one",
      },
      { name: "flags", type: "flag", help: "print the flags alone, one a line" },
      JSON_OPTION,
    ],
    examples: [
      {
        what: "The line that starts the configured server",
        line: "permissions server --config /etc/postern/config.toml",
      },
      {
        what: "The flags of one knock",
        line: "permissions --flags -- client send -a host.example -K user.key",
      },
    ],
    needs: {
      read: "the configuration, the folder of an agent or of an administrator",
      env: "optional: find the client's config folder",
      sys: "user id, which decides who an agent's sessions run as",
    },
  },
  {
    path: ["completions"],
    summary: "print the completions for a shell",
    usage: "SHELL",
    description: [
      "Prints a script that completes commands, options, their choices and files. `postern client setup` installs it for " +
      "every shell.",
    ],
    operands: [{ value: "SHELL", choices: ["bash", "zsh", "fish"], required: true, help: "the shell" }],
    options: [],
    examples: [
      { what: "Complete in this bash", line: "completions bash > postern.bash && . ./postern.bash" },
      {
        what: "Complete in every zsh from now on",
        line: "completions zsh > /usr/local/share/zsh/site-functions/_postern",
      },
    ],
    needs: {},
  },
  {
    path: ["man"],
    summary: "print a manual page",
    usage: "[PAGE]",
    description: [
      "Prints a page in the format of man(1). `postern client setup` installs them all. A page is called like what is " +
      "typed, with dashes: postern-client, postern-client-send, postern-setup-server-doctor, postern-permissions.",
    ],
    operands: [{
      value: "PAGE",
      dashed: true,
      help: "name of the page, with or without postern- in front (default: that of this program)",
    }],
    options: [],
    examples: [
      { what: "Read one", line: "man postern-client-send | man -l -" },
      { what: "Keep one", line: "man postern-client-send > postern-client-send.1" },
    ],
    needs: {},
  },
];
