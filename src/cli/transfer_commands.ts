/** The commands of the transfer job, for `table.ts`. Plain literals: they lie on the path of every `client send`. */
import type { CommandSpec, OptionSpec } from "./command_spec.ts";

const RELAY_OPTION: OptionSpec = {
  name: "relay",
  type: "text",
  value: "HOST:PORT",
  help: "the relay that both sides use: HOST:PORT or [IPV6]:PORT (default: the variable POSTERN_RELAY)",
};

const DAY_MS = 86_400_000;

const GRACE_OPTION: OptionSpec = {
  name: "grace",
  type: "duration",
  value: "TIME",
  range: [0, DAY_MS],
  default: "120s",
  help: "how long a lost link, or a relay that cannot be reached, is tried again: 500ms, 10s, 2m",
};

const WAIT_OPTION: OptionSpec = {
  name: "wait",
  type: "duration",
  value: "TIME",
  range: [1, DAY_MS],
  default: "60m",
  help: "how long the other side is waited for: 30s, 10m, 8h",
};

const EVENTS_OPTION: OptionSpec = {
  name: "json",
  type: "flag",
  help:
    'print a line of JSON for each thing that happens, the last one the result or {"error": TEXT, "hint": TEXT or null}',
};

const GO_ON =
  "If it is interrupted, by a lost link, Ctrl-C or a restart, run the same command again on both sides, with the same " +
  "code: what has arrived is kept, and only the rest is sent.";

export const TRANSFER_COMMANDS: readonly CommandSpec[] = [
  {
    path: ["client", "share"],
    summary: "send files, a text or standard input to whoever has the code that it prints",
    usage: "PATH... --relay HOST:PORT [options]",
    description: [
      "Sends files and folders, a text or standard input to another machine, encrypted from end to end. It prints a " +
      "code, a number and three words. Who types that code at the other side receives what is shared.",
      "Both sides connect to a relay, which only joins the two connections and can read nothing. In three terminals, " +
      "of one machine or of three, where HOST is the machine of the relay (127.0.0.1 if it is this one):",
      "1. `postern server relay` runs a relay on port 8080, as long as it is wanted.",
      "2. `postern client share FILE --relay HOST:8080` prints the code and waits.",
      "3. `postern client receive --relay HOST:8080` asks for the code, shows what is offered, asks whether to take it, and " +
      "writes FILE into the current folder.",
      "The code is good for one receiver (--receivers N: for N of them) and for one guess: once somebody has tried a " +
      "wrong one, nobody can try another; run the command again for a new one.",
      GO_ON,
    ],
    operands: [
      { value: "PATH", many: true, help: "a file or folder to share; - alone shares standard input" },
    ],
    options: [
      RELAY_OPTION,
      { name: "text", type: "text", value: "TEXT", help: "share this text, which the other side prints" },
      {
        name: "receivers",
        type: "integer",
        value: "N",
        range: [1, 100],
        default: "1",
        help: "how many may receive it, each by the same code",
      },
      {
        name: "code",
        type: "text",
        value: "CODE",
        help:
          "the code to use instead of a random one: 4 to 9 digits and at least three words that the other side's Tab knows",
      },
      {
        name: "name",
        type: "text",
        value: "NAME",
        default: "stdin",
        help: "what the other side calls the file that standard input becomes",
      },
      {
        name: "fresh",
        type: "flag",
        help: "begin anew with a new code, also if an interrupted share of the same could go on",
      },
      WAIT_OPTION,
      GRACE_OPTION,
      EVENTS_OPTION,
    ],
    examples: [
      {
        what: "Share a file and a folder",
        line: "client share report.pdf photos --relay relay.example:8080",
      },
      {
        what: "The second of the three lines above, where all three terminals are of one machine",
        line: "client share report.pdf --relay 127.0.0.1:8080",
      },
      {
        what: "Share what another program prints",
        line: "client share - --name backup.tar --relay relay.example:8080",
      },
    ],
    needs: {
      net: "connect to the relay",
      read: "what is shared; optional: what is needed to go on after an interruption",
      write: "optional: what is needed to go on after an interruption",
      env: "optional: find the relay and the state folder",
    },
  },
  {
    path: ["client", "receive"],
    summary: "receive what somebody shares, by the code that they tell you",
    usage: "[CODE | -] --relay HOST:PORT [options]",
    description: [
      "Receives what `postern client share` sends, verifies all of it, and writes it into the current folder or the " +
      "one that -o names. A text is printed. The code is asked for if it is not given; Tab completes its words.",
      "Before anything is written it shows what is offered and asks. Files that are there already are kept, and so is " +
      "what has come so far if it is interrupted.",
      GO_ON,
    ],
    operands: [
      {
        value: "CODE",
        many: true,
        help:
          "the code, its parts joined by dashes or as words of their own; or - to read it from standard input; a code in the command line is seen by who lists processes",
      },
    ],
    options: [
      RELAY_OPTION,
      {
        name: "output-dir",
        short: "o",
        type: "text",
        value: "DIR",
        default: ".",
        help: "the folder to write into",
      },
      { name: "yes", short: "y", type: "flag", help: "take what is offered without asking" },
      { name: "overwrite", type: "flag", help: "replace files that are there already" },
      {
        name: "hidden",
        type: "flag",
        help: "with --yes: also take names that begin with a dot, such as .ssh or .bashrc",
      },
      {
        name: "max-files",
        type: "integer",
        value: "N",
        range: [1, 10_000_000],
        default: "100000",
        help: "most files and folders that are taken",
      },
      {
        name: "max-bytes",
        type: "integer",
        value: "N",
        range: [0, 999_999_999_999_999],
        default: "17592186044416",
        help: "most bytes that are taken",
      },
      WAIT_OPTION,
      GRACE_OPTION,
      EVENTS_OPTION,
    ],
    examples: [
      { what: "Receive, and be asked for the code", line: "client receive --relay relay.example:8080" },
      {
        what: "Receive into a folder without being asked",
        line: "client receive 482913-apple-river-stone -o inbox --yes --relay relay.example:8080",
      },
      { what: "Read the code from a file", line: "client receive - --yes --relay relay.example:8080 < code" },
    ],
    needs: {
      net: "connect to the relay",
      read: "what is there already; optional: what is needed to go on after an interruption",
      write: "what is received",
      sys: "optional: see whether there is room",
      env: "optional: find the relay and the state folder",
    },
  },
];
