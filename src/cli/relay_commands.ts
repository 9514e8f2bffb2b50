/** The command of the relay, for `table.ts`. Plain literals: they lie on the path of every `client send`. */
import type { CommandSpec } from "./command_spec.ts";
import {
  CHECK_OPTION,
  LOG_OPTION,
  STATUS_OPTION,
  STRICT_PERMISSIONS_LIMITS,
  STRICT_PERMISSIONS_OPTION,
} from "./option_specs.ts";

export const RELAY_COMMANDS: readonly CommandSpec[] = [
  {
    path: ["server", "relay"],
    summary: "staple the two connections of a transfer together, knowing nothing of it",
    usage: "[--bind ADDR] [options]",
    description: [
      "Takes the first 33 bytes of a connection as an identifier that means nothing to it. The first connection with " +
      "an identifier is parked; the second one is stapled to it, and every further byte is piped both ways. The relay " +
      "speaks no protocol of its own: it sends no byte that a client did not send, and what the clients of Postern send " +
      "is encrypted between the two.",
      "Where there is no room a connection is closed at once. Per IP means per IPv4 address or per IPv6 /64. The relay " +
      "must be allowed as many open files as --max-arriving and --max-parked together, twice --max-staples, and 50.",
      "Logs the addresses of connections it has to turn away, and no others; no identifier is written down anywhere. " +
      "SIGTERM ends it at once, with every connection.",
      STRICT_PERMISSIONS_LIMITS,
    ],
    options: [
      {
        name: "bind",
        type: "text",
        value: "ADDR",
        default: "[::]:8080",
        help: "where to listen: an IP literal with a port; [::] takes IPv4 too",
      },
      {
        name: "id-bytes",
        type: "text",
        value: "N",
        choices: ["33", "32"],
        default: "33",
        help: "length of the identifier; 32 serves the clients of ruck-relay 0.1.4",
      },
      {
        name: "max-arriving",
        type: "integer",
        value: "N",
        range: [1, 1_000_000],
        default: "500",
        help: "connections at once that have not said their identifier yet",
      },
      {
        name: "max-arriving-per-ip",
        type: "integer",
        value: "N",
        range: [1, 1_000_000],
        default: "100",
        help: "how many of these one IP may have",
      },
      {
        name: "first-bytes-time",
        type: "duration",
        value: "TIME",
        range: [100, 3_600_000],
        default: "10s",
        help: "how long a connection may take to say its identifier",
      },
      {
        name: "max-parked",
        type: "integer",
        value: "N",
        range: [1, 1_000_000],
        default: "1000",
        help: "connections at once that wait for another one",
      },
      {
        name: "max-parked-per-ip",
        type: "integer",
        value: "N",
        range: [1, 1_000_000],
        default: "100",
        help: "how many of these one IP may have",
      },
      {
        name: "park-time",
        type: "duration",
        value: "TIME",
        range: [100, 86_400_000],
        default: "300s",
        help: "how long a connection may wait for another one",
      },
      {
        name: "max-staples",
        type: "integer",
        value: "N",
        range: [1, 1_000_000],
        default: "500",
        help: "pairs of connections at once",
      },
      {
        name: "max-staples-per-ip",
        type: "integer",
        value: "N",
        range: [1, 1_000_000],
        default: "100",
        help: "in how many of these one IP may have a part",
      },
      {
        name: "idle-time",
        type: "duration",
        value: "TIME",
        range: [100, 86_400_000],
        default: "300s",
        help: "how long a pair may be silent before both are closed",
      },
      {
        name: "rate",
        type: "integer",
        value: "BYTES",
        range: [0, 1_000_000_000_000],
        default: "0",
        help: "bytes a second through one pair, both directions together; 0: no limit",
      },
      STATUS_OPTION,
      LOG_OPTION,
      CHECK_OPTION,
      STRICT_PERMISSIONS_OPTION,
    ],
    examples: [
      { what: "Run a relay on port 8080", line: "server relay" },
      {
        what: "Let nobody have more than 10 MB a second",
        line: "server relay --bind 0.0.0.0:9000 --rate 10000000",
      },
      {
        what: "Serve the clients of ruck-relay 0.1.4",
        line: "server relay --bind [::]:8081 --id-bytes 32",
      },
    ],
    needs: {
      net: "listen on the address; given up once it listens",
      read: "optional: the status file",
      write: "optional: the status file",
    },
  },
];
