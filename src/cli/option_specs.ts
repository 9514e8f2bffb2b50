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
