import assert from "node:assert/strict";
import { DEFAULT_AGENT_TOML } from "../../../src/commander/agent/agent_config.ts";
import { AgentFolder } from "../../../src/commander/agent/agent_folder.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { Failure } from "../../../src/system/failure.ts";

/** The folder of a host that has joined. */
async function joinedFolder(): Promise<AgentFolder> {
  const folder = new AgentFolder(await Deno.makeTempDir());
  await folder.readOrMakeKey(systemRandomBytes);
  await folder.writeServer({
    name: "web1",
    addresses: ["manage.test:7022"],
    caCertificates: ["-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"],
    generation: 1,
    serverKey: new Uint8Array(32).fill(9),
  });
  await folder.writeConfigIfMissing(DEFAULT_AGENT_TOML);
  return folder;
}

const SHARED: readonly [name: string, mode: number, says: RegExp][] = [
  [".", 0o770, /others may change it, found mode 770/],
  [".", 0o702, /others may change it, found mode 702/],
  ["agent.toml", 0o620, /agent\.toml: others may change it, found mode 620/],
  ["server.json", 0o602, /server\.json: others may change it, found mode 602/],
  ["agent.key", 0o640, /agent\.key: others may read it, found mode 640/],
];
for (const [name, mode, says] of SHARED) {
  Deno.test(`AgentFolder.readServer() refuses ${name} with mode ${mode.toString(8)}, and takes it when that is mended`, async () => {
    const folder = await joinedFolder();
    try {
      const path = `${folder.path}/${name}`;
      const before = (await Deno.stat(path)).mode ?? 0;
      await Deno.chmod(path, mode);
      await assert.rejects(folder.readServer(), (error) => {
        assert(error instanceof Failure);
        assert.match(error.message, says);
        assert.match(error.hint ?? "", /chmod/);
        return true;
      });
      await Deno.chmod(path, before & 0o777);
      assert.equal((await folder.readServer()).name, "web1");
    } finally {
      await Deno.remove(folder.path, { recursive: true });
    }
  });
}

Deno.test("AgentFolder.readServer() takes files that others may read, but for the key", async () => {
  const folder = await joinedFolder();
  try {
    for (const [name, mode] of [[".", 0o755], ["agent.toml", 0o644], ["server.json", 0o644]] as const) {
      await Deno.chmod(`${folder.path}/${name}`, mode);
    }
    assert.equal((await folder.readServer()).name, "web1");
  } finally {
    await Deno.remove(folder.path, { recursive: true });
  }
});
