/** `postern server manage init`. */
import { fingerprint } from "../protocol/manage/signing_key.ts";
import { DEFAULT_MANAGE_BIND } from "../server/manage/config.ts";
import { initServer } from "../server/manage/init.ts";
import { registryPermissions } from "../server/manage/registry_permissions.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { shellWord } from "./shell_word.ts";
import { printNotice, printResult } from "./terminal.ts";

/** Makes the folder of a new server. */
export async function serverManageInit(values: OptionValues, invocation: Invocation): Promise<void> {
  const path = values.requiredText("dir");
  requireManagePermissions(registryPermissions(path), invocation, "cannot make a server");
  const addresses = values.requiredText("address").split(",").map((address) => address.trim());
  const { folder, serverKey, keptKeys } = await initServer({ folder: path, addresses });
  printResult(`${folder.path}\n`);
  if (keptKeys) printNotice("keys that were there already are used, and policy.toml if there was one");
  printNotice(`the server's key is ${fingerprint(serverKey)}`);
  printNotice(`read ${folder.policy}: it lets every invited administrator do everything`);
  const dir = shellWord(folder.path);
  printNotice("hint: then start the server, and invite a host and yourself:");
  printNotice(`  postern server manage --dir ${dir}${bindOption(addresses)}`);
  printNotice(`  postern server manage invite host NAME --dir ${dir}`);
  printNotice(`  postern server manage invite admin NAME --dir ${dir}`);
}

/** Others dial the port of the address; the server has to be told of any but the default one. */
function bindOption([address = ""]: readonly string[]): string {
  const bind = `[::]:${address.slice(address.lastIndexOf(":") + 1)}`;
  return bind === DEFAULT_MANAGE_BIND ? "" : ` --bind ${shellWord(bind)}`;
}
