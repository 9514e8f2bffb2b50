/** Run by folder_owner_test.ts as a user who may not use the folder: tries it, and prints the error as JSON. */
import { CounterFile } from "../../../src/client/knock/counter_file.ts";
import { describeError, Failure } from "../../../src/system/failure.ts";

const [method = "", folder = ""] = Deno.args;
const file = new CounterFile(folder);
let told: Record<string, unknown> = { message: null, hint: null };
try {
  await (method === "next" ? file.next() : method === "peek" ? file.peek() : file.reseed());
} catch (error) {
  told = { message: describeError(error), hint: error instanceof Failure ? error.hint : undefined };
}
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(told)));
