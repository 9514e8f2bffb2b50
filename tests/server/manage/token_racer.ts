/** A program that shows a token with a key of its own, again and again, and prints who it became. */
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { openDataFolder } from "../../../src/server/manage/data_folder.ts";
import { Registry } from "../../../src/server/manage/registry.ts";

const [folder = "", ...hashes] = Deno.args;
using registry = await Registry.open(await openDataFolder(folder));
const key = systemRandomBytes(32);
say("ready");
await Deno.stdin.read(new Uint8Array(1));
for (const hash of hashes) {
  const bound = registry.bindToken({
    secretHash: Uint8Array.fromHex(hash),
    role: "host",
    key: key.map((byte, at) => at === 0 ? byte ^ hashes.indexOf(hash) : byte),
    address: "192.0.2.1:1",
  });
  say("refused" in bound ? "refused" : bound.name);
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
