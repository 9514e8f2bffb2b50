/** From the options `client send` and `client connect` share to what the client's code takes. */
import type { KeyArguments } from "../client/knock/key_source.ts";
import { readKey } from "../client/knock/key_source.ts";
import type { SendKnockOptions } from "../client/knock/send.ts";
import { usableConfigFolder } from "../client/knock/config_folder.ts";
import type { Key } from "../protocol/knock/key.ts";
import type { OptionValues } from "./parse.ts";
import { printNotice } from "./terminal.ts";

/** Which source of the key the command line names. */
export function keyArguments(values: OptionValues): KeyArguments {
  return { key: values.text("key"), keyFile: values.text("key-file") };
}

/** Loaded only where somebody types. */
async function askForKey(): Promise<string> {
  const { readHiddenLine } = await import("./hidden_line.ts");
  return await readHiddenLine("key: ");
}

/** Reads the key, finds the config folder, and gives the options of a knock. */
export async function knockOptions(values: OptionValues): Promise<SendKnockOptions & { readonly key: Key }> {
  const key = await readKey(keyArguments(values), {
    stdin: Deno.stdin,
    askOnTerminal: () => Deno.stdin.isTerminal() ? askForKey() : null,
    notice: printNotice,
  });
  const sourceIp = values.text("ip");
  if (sourceIp === undefined && values.flag("permissive")) {
    printNotice(
      "warning: --permissive (-e) does nothing without --ip: the packet names no address to compare with",
    );
  }
  const configFolder = usableConfigFolder();
  const isOneFamily = values.flag("ipv4") !== values.flag("ipv6");
  return {
    address: values.requiredText("address"),
    key,
    command: values.requiredText("command"),
    permissive: values.flag("permissive"),
    sendDelayMs: values.number("send-delay-ms"),
    ...(sourceIp === undefined ? {} : { sourceIp }),
    ...(isOneFamily ? { family: values.flag("ipv4") ? 4 : 6 } : {}),
    ...(configFolder === null ? {} : { configFolder }),
  };
}
