/** `postern client gen`. */
import { makeKey, writeKeyFile } from "../client/knock/gen.ts";
import type { OptionValues } from "./parse.ts";
import { jsonLine, printJson, printNewKey, printResult } from "./terminal.ts";

/** Prints a new key, or writes it to a file of its own. */
export async function clientGen(values: OptionValues): Promise<void> {
  const { keyText, keyId } = makeKey();
  const keyFile = values.text("key-file");
  const isJson = values.flag("json");
  if (keyFile === undefined) {
    // No line end: `gen > user.key` makes the file that a key is.
    return printNewKey(isJson ? jsonLine({ key: keyText, key_id: keyId }) : keyText);
  }
  await writeKeyFile(keyFile, keyText);
  if (isJson) printJson({ key_file: keyFile, key_id: keyId });
  else printResult(`key ${keyId} written to ${keyFile}\n`);
}
