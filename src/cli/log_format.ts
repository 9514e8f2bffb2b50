/** The value of `--log`. */
import type { LogFormat } from "../system/log.ts";
import type { OptionValues } from "./parse.ts";

/** The log format asked for; the command table lets nothing else through. */
export function logFormat(values: OptionValues): LogFormat {
  return values.requiredText("log") === "json" ? "json" : "text";
}
