/** What docs/wire-formats.md says of discovery, written by the code and read by it. */
import assert from "node:assert/strict";
import type { DiscoveryOptions } from "../../src/protocol/rpc/discovery/discovery.ts";
import { formatRecord, parseRecord } from "../../src/protocol/rpc/discovery/record.ts";
import { folderDiscovery } from "../../src/rpc/discovery_folder.ts";
import { registryDiscovery } from "../../src/rpc/discovery_registry.ts";
import { table, textByHand } from "./wire_formats_page.ts";

const TIMEOUT_MS = 30_000;
const text = textByHand("record").trimEnd();
const shown = parseRecord(text);
assert(shown !== null, "the record of the page is one");
const { record, leaseMs, renewedAtMs } = shown;
const path = `${record.name}@${record.instance}`;

/** A publisher that draws and sees what the page shows. */
const asShown: DiscoveryOptions = {
  leaseMs,
  wallMs: () => renewedAtMs,
  randomBytes: () => Uint8Array.fromHex(record.instance),
  owner: { pid: record.pid, startTimeMs: record.startTimeMs },
};

/**
 * Publishes the record of the page as its words say, from another language: the lock first, under a name of its own,
 * then the record. Arguments: folder, name and instance, text.
 */
const PUBLISHER = `
import fcntl, os, sys
folder, path, text = sys.argv[1:]
instance = path.split("@")[1]
unnamed = f"{folder}/.{instance}.alive.tmp"
lock = os.open(unnamed, os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
os.rename(unnamed, f"{folder}/{path}.alive")
with open(f"{folder}/.{path}.json.tmp", "w") as file:
    file.write(text)
os.rename(f"{folder}/.{path}.json.tmp", f"{folder}/{path}.json")
print("published", end="", flush=True)
sys.stdin.read()
`;

async function withFolder(act: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-services-" });
  try {
    await Deno.chmod(folder, 0o700);
    await act(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function filesOf(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
}

Deno.test("docs/wire-formats.md shows a record that is read and written so, and names its members", () => {
  assert.equal(formatRecord(shown), text);
  assert.deepEqual(
    table("Discovery: record", "member").map(([member]) => member),
    Object.keys(JSON.parse(text)),
  );
});

Deno.test({
  name: "docs/wire-formats.md tells the files that folderDiscovery() makes",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const registration = await folderDiscovery({ folder, ...asShown }).publish(record);
      const rows = table("Discovery: folder", "file");
      const names = rows.map(([file = ""]) =>
        file.replace("<name>", record.name).replace("<instance>", record.instance)
      );
      assert.deepEqual(await filesOf(folder), names.toSorted());
      for (const [row, [, mode = ""]] of rows.entries()) {
        const info = await Deno.stat(`${folder}/${names[row]}`);
        assert.equal(((info.mode ?? 0) & 0o7777).toString(8).padStart(4, "0"), mode);
      }
      assert.equal(await Deno.readTextFile(`${folder}/${path}.json`), text);
      assert.equal(await Deno.readTextFile(`${folder}/${path}.alive`), "");
      await registration[Symbol.asyncDispose]();
      assert.deepEqual(await filesOf(folder), []);
    });
  },
});

Deno.test({
  name:
    "folderDiscovery() finds what a program in Python publishes by docs/wire-formats.md, for as long as it lives",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const child = new Deno.Command("python3", {
        args: ["-c", PUBLISHER, folder, path, text],
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const out = child.stdout.getReader();
      const { value } = await out.read();
      assert.equal(new TextDecoder().decode(value), "published");
      // Long after its lease: that the lock is held is enough.
      const reader = folderDiscovery({ folder, wallMs: () => renewedAtMs + 100 * leaseMs });
      assert.deepEqual(await reader.resolve(record.name), [record]);
      child.kill("SIGKILL");
      await child.status;
      assert.deepEqual(await reader.resolve(record.name), []);
      assert.deepEqual(await filesOf(folder), []);
      await out.cancel();
      await child.stdin.close().catch(() => {});
    });
  },
});

Deno.test({
  name: "docs/wire-formats.md shows the value that registryDiscovery() keeps and finds",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const [name = "", type, data = ""] = textByHand("registry").trimEnd().split("\n");
    const key = `HKEY_CURRENT_USER\\Software\\Postern\\Services\\${record.name}`;
    const registry = { [key.toLowerCase()]: { key, values: { [name]: data } } };
    assert.equal(type, "REG_SZ");
    const standIn = new URL("../rpc/reg_stand_in.ts", import.meta.url).pathname;
    await withFolder(async (folder) => {
      const file = `${folder}/registry.json`;
      const discovery = registryDiscovery({
        command: [Deno.execPath(), "run", "-A", "--no-prompt", standIn, file],
        ...asShown,
      });
      await Deno.writeTextFile(file, "{}");
      const registration = await discovery.publish(record);
      assert.deepEqual(JSON.parse(await Deno.readTextFile(file)), registry);
      await registration[Symbol.asyncDispose]();
      await Deno.writeTextFile(file, JSON.stringify(registry));
      assert.deepEqual(await discovery.resolve(record.name), [record]);
    });
  },
});
