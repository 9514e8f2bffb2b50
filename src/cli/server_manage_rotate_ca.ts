/** `postern server manage rotate-ca`. */
import { registryPermissions } from "../server/manage/registry_permissions.ts";
import { openDataFolder } from "../server/manage/data_folder.ts";
import { Registry } from "../server/manage/registry.ts";
import { beginRotation, finishRotation, isRotating, waitingFor } from "../server/manage/rotate_ca.ts";
import { Failure } from "../system/failure.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printNotice } from "./terminal.ts";

/** Begins to change the authority, or takes the new one into use once everybody has it. */
export async function serverManageRotateCa(values: OptionValues, invocation: Invocation): Promise<void> {
  const path = values.requiredText("dir");
  requireManagePermissions(registryPermissions(path), invocation, "cannot change the authority");
  const folder = await openDataFolder(path);
  using registry = await Registry.open(folder);
  const evenWithout = values.flag("finish");
  if (!isRotating(registry) && !evenWithout) {
    await beginRotation(folder, registry);
    printNotice(
      "a new authority is made; a running server hands it to everybody who is online, and to others later",
    );
    printNotice("hint: when `postern server manage list` says that everybody has it, run this again");
    return;
  }
  if (await finishRotation(folder, registry, { evenWithout })) {
    printNotice("the new authority is in use; start the server again, so that it shows its new certificate");
    return;
  }
  const { members, tokens } = waitingFor(registry);
  const waiting = [...members, ...tokens.map((name) => `the unused token for ${name}`)];
  throw new Failure(
    `cannot take the new authority into use yet: it is not stored by ${waiting.join(", ")}`,
    { hint: "--finish does so all the same, and they need a new token then" },
  );
}
