/** `postern client send`. */
import { DEFAULT_KNOCK_PORT, formatHostPort, lacksPort } from "../client/knock/destination.ts";
import { sendKnock, type SendKnockOptions } from "../client/knock/send.ts";
import { commandHash, formatCommandHash } from "../protocol/knock/command_hash.ts";
import { formatKeyId, type Key } from "../protocol/knock/key.ts";
import { knockOptions } from "./knock_options.ts";
import type { OptionValues } from "./parse.ts";
import { printJson, printNotice, printResult, quote } from "./terminal.ts";

/** Sends a knock and says what was sent. */
export async function clientSend(values: OptionValues): Promise<void> {
  const dryRun = values.flag("dry-run");
  const options = await knockOptions(values);
  const report = await sendKnock({ ...options, dryRun });
  for (const warning of report.warnings) printNotice(`warning: ${warning}`);
  const facts = dryRun ? dryRunFacts(options, report.command) : null;
  if (values.flag("json")) {
    const { command, destinations } = report;
    return printJson({
      command,
      dry_run: dryRun,
      strict: !values.flag("permissive"),
      destinations,
      ...facts,
    });
  }
  for (const { ip, port, counter, error } of report.destinations) {
    const target = formatHostPort(ip, port);
    const what = `${quote(report.command)} to ${target}`;
    if (error !== null) printNotice(`warning: no knock sent to ${target}: ${error}`);
    else if (dryRun) printResult(`would send ${what} with counter ${counter}\n`);
    else printResult(`sent ${what}; the server never answers\n`);
  }
  if (facts !== null) {
    printResult(
      `key id:       ${facts.key_id}\ncommand hash: #${facts.command_hash}\ncounter from: ${
        quote(facts.counter_from)
      }\n`,
    );
  }
  // The commonest reason why nothing happens, and the server will not tell.
  if (lacksPort(options.address)) {
    printNotice(
      `hint: no port was given, so it is UDP ${DEFAULT_KNOCK_PORT}; postern's server listens on 34020 if not told otherwise`,
    );
  }
}

/** What the server's log calls things: nothing of it is secret. */
function dryRunFacts(
  options: SendKnockOptions & { readonly key: Key },
  command: string,
): { readonly key_id: string; readonly command_hash: string; readonly counter_from: string } {
  return {
    key_id: formatKeyId(options.key.id),
    command_hash: formatCommandHash(commandHash(command)),
    counter_from: options.configFolder === undefined ? "the clock" : `${options.configFolder}/counter`,
  };
}
