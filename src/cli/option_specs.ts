/** Options that several commands take. Plain literals: they lie on the path of every `client send`. */
import type { OptionSpec } from "./command_spec.ts";

export const JSON_OPTION: OptionSpec = {
  name: "json",
  type: "flag",
  help:
    'print one line of JSON in every case: the result, or on failure {"error": TEXT, "hint": TEXT or null}',
};

export const CONFIG_OPTION: OptionSpec = {
  name: "config",
  short: "c",
  type: "text",
  value: "FILE",
  default: "/etc/postern/config.toml",
  help: "configuration file; ruroco's own is understood",
};

export const STATUS_OPTION: OptionSpec = {
  name: "status",
  type: "text",
  value: "FILE",
  help: "write counters to FILE once a second: JSON if it ends in .json, else for Prometheus",
};

export const LOG_OPTION: OptionSpec = {
  name: "log",
  type: "text",
  value: "FORMAT",
  choices: ["text", "json"],
  default: "text",
  help: "format of the log lines on standard error",
};

export const CHECK_OPTION: OptionSpec = {
  name: "check",
  type: "flag",
  help: "check the configuration, print a summary and end",
};

export const STRICT_PERMISSIONS_OPTION: OptionSpec = {
  name: "strict-permissions",
  type: "flag",
  help: "refuse to start, instead of warning, if more permissions are seen granted than needed",
};

/** For the descriptions of what has it. */
export const STRICT_PERMISSIONS_LIMITS =
  "What --strict-permissions sees: a whole kind, a folder above a needed one, every port of a needed host, a " +
  "missing denial, and grants of common places (/, /etc, /home, /root, /tmp and the like, well-known hosts, " +
  "sockets and programs). The runtime cannot list its grants, so one of any other place is not seen: compare the " +
  "flags with those that --check prints.";
