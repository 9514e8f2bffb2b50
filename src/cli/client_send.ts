/** `postern client send`. */
import { formatHostPort } from "../client/knock/destination.ts";
import { sendKnock } from "../client/knock/send.ts";
import { knockOptions } from "./knock_options.ts";
import type { OptionValues } from "./parse.ts";
import { printJson, printNotice, printResult, quote } from "./terminal.ts";

/** Sends a knock and says what was sent. */
export async function clientSend(values: OptionValues): Promise<void> {
  const dryRun = values.flag("dry-run");
  const report = await sendKnock({ ...await knockOptions(values), dryRun });
  for (const warning of report.warnings) printNotice(`warning: ${warning}`);
  if (values.flag("json")) {
    const { command, destinations } = report;
    return printJson({ command, dry_run: dryRun, strict: !values.flag("permissive"), destinations });
  }
  for (const { ip, port, error } of report.destinations) {
    const target = formatHostPort(ip, port);
    const what = `${quote(report.command)} to ${target}`;
    if (error !== null) printNotice(`warning: no knock sent to ${target}: ${error}`);
    else if (dryRun) printResult(`would send ${what}\n`);
    else printResult(`sent ${what}; the server never answers\n`);
  }
}
