/** `postern client join`. */
import { joinServer } from "../client/manage/join.ts";
import { manageFolder } from "../client/manage/manage_folder.ts";
import { joinPermissions, manageScope } from "../client/manage/permissions.ts";
import { fingerprint } from "../protocol/manage/signing_key.ts";
import { systemTimers } from "../protocol/rpc/timers.ts";
import { EndingSignals } from "./ending_signals.ts";
import { givenToken } from "./hidden_line.ts";
import { manageFailure } from "./manage_failure.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printNotice, printResult } from "./terminal.ts";

/** Registers, and says what is next. The token is shown nowhere. */
export async function clientJoin(values: OptionValues, invocation: Invocation): Promise<void> {
  const dir = values.text("dir");
  const folder = manageFolder(dir);
  const [operand = ""] = values.operands;
  requireManagePermissions(joinPermissions(manageScope(dir), operand), invocation, "cannot join");
  const token = await givenToken(operand);
  using ending = new EndingSignals("could not join");
  try {
    const { name, addresses, server, publicKey } = await joinServer({
      folder,
      token,
      timers: systemTimers,
      onNotice: printNotice,
      signal: ending.signal,
    });
    printResult(`joined ${addresses.join(", ")} as ${name}\n`);
    printNotice(
      `the server's key is ${server}, yours is ${fingerprint(publicKey)}; both are in ${folder.path}`,
    );
  } catch (error) {
    throw manageFailure(error);
  }
  const option = dir === undefined ? "" : ` --dir ${dir}`;
  printNotice("what is next:");
  printNotice(`  postern client hosts${option}   lists the hosts that you may reach`);
  printNotice(
    `  postern client identity${option}   prints what hosts trust you by: postern commander agent trust`,
  );
}
