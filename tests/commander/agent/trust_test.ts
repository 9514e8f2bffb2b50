import assert from "node:assert/strict";
import { DEFAULT_AGENT_TOML } from "../../../src/commander/agent/agent_config.ts";
import { AgentFolder } from "../../../src/commander/agent/agent_folder.ts";
import { trustAdministrator, withAdmins } from "../../../src/commander/agent/trust.ts";
import { fingerprint, formatPublicKey } from "../../../src/protocol/manage/signing_key.ts";
import { parseTomlSource } from "../../../src/system/toml_file.ts";
import { configOf } from "./agent_under_test.ts";

const alice = new Uint8Array(32).fill(7), second = new Uint8Array(32).fill(8);
const asText = (name: string, key: Uint8Array): string => `${name}:${formatPublicKey(key)}`;

async function withFolder(toml: string, act: (folder: AgentFolder) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    const folder = new AgentFolder(path);
    await folder.create();
    await Deno.writeTextFile(folder.configPath, toml, { mode: 0o600 });
    await act(folder);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

async function adminsOf(folder: AgentFolder): Promise<string[]> {
  return configOf(await Deno.readTextFile(folder.configPath)).admins.map(({ name, key }) =>
    asText(name, key)
  );
}

Deno.test("trustAdministrator() writes admins and leaves every other line as it is", async () => {
  await withFolder(DEFAULT_AGENT_TOML, async (folder) => {
    const trusted = await trustAdministrator(folder, asText("alice", alice));
    assert.deepEqual([trusted.fingerprint, trusted.wasTrusted, trusted.replaced], [
      fingerprint(alice),
      false,
      null,
    ]);
    const expected = DEFAULT_AGENT_TOML.replace(
      "admins = []",
      `admins = [\n  "${asText("alice", alice)}",\n]`,
    );
    assert.equal(await Deno.readTextFile(folder.configPath), expected);
    assert.equal(((await Deno.stat(folder.configPath)).mode ?? 0) & 0o777, 0o600);
    await trustAdministrator(folder, asText("bob", second));
    assert.deepEqual(await adminsOf(folder), [asText("alice", alice), asText("bob", second)]);
  });
});

Deno.test("trustAdministrator() changes nothing the second time, and replaces another key of the name", async () => {
  await withFolder("", async (folder) => {
    await trustAdministrator(folder, asText("alice", alice));
    assert.equal((await trustAdministrator(folder, asText("alice", alice))).wasTrusted, true);
    const trusted = await trustAdministrator(folder, asText("alice", second));
    assert.equal(trusted.replaced, fingerprint(alice));
    assert.deepEqual(await adminsOf(folder), [asText("alice", second)]);
  });
});

Deno.test("trustAdministrator() takes the key last seen under a name", async () => {
  await withFolder("", async (folder) => {
    assert.equal(await folder.noteAdministrator({ name: "alice", key: alice }), null);
    assert.equal(await folder.noteAdministrator({ name: "alice", key: alice }), null);
    assert.deepEqual(await folder.noteAdministrator({ name: "alice", key: second }), alice);
    assert.equal((await trustAdministrator(folder, "alice")).fingerprint, fingerprint(second));
    await assert.rejects(trustAdministrator(folder, "bob"), {
      message: 'cannot trust "bob": no administrator of that name was here, but alice',
      hint: /NAME:KEY/,
    });
  });
});

Deno.test("trustAdministrator() replaces no pinned key by one that the server has only shown under the name", async () => {
  await withFolder("", async (folder) => {
    await trustAdministrator(folder, asText("alice", alice));
    // Anybody whom the server calls alice.
    await folder.noteAdministrator({ name: "alice", key: second });
    await assert.rejects(trustAdministrator(folder, "alice"), {
      message: `cannot trust "alice" by name alone: the key last seen is ${fingerprint(second)}, ` +
        `agent.toml pins ${fingerprint(alice)}`,
      hint: /NAME:KEY/,
    });
    assert.deepEqual(await adminsOf(folder), [asText("alice", alice)]);
    assert.equal((await trustAdministrator(folder, asText("alice", second))).replaced, fingerprint(alice));
  });
});

Deno.test("trustAdministrator() refuses what is no administrator, and a broken agent.toml stays as it is", async () => {
  await withFolder("shell = maybe\n", async (folder) => {
    for (const operand of ["Alice", "alice:", "alice:x", `Alice:${formatPublicKey(alice)}`, ""]) {
      await assert.rejects(trustAdministrator(folder, operand), { name: "UsageFailure" }, operand);
    }
    await assert.rejects(trustAdministrator(folder, asText("alice", alice)), /no valid TOML/);
    assert.equal(await Deno.readTextFile(folder.configPath), "shell = maybe\n");
  });
});

Deno.test("AgentFolder remembers 256 administrators, those that were here last", async () => {
  await withFolder("", async (folder) => {
    const rows = Array.from({ length: 256 }, (_, at) => ({ name: `a${at}`, key: formatPublicKey(alice) }));
    await Deno.writeTextFile(`${folder.path}/administrators.json`, JSON.stringify(rows));
    await Promise.all(["b1", "b2"].map((name) => folder.noteAdministrator({ name, key: second })));
    const seen = (await folder.readAdministrators()).map(({ name }) => name);
    assert.deepEqual(seen, [...rows.slice(2).map(({ name }) => name), "b1", "b2"]);
  });
});

for (
  const [what, before] of [
    ["one line", "shell = true\nadmins = []\nexec = true\n"],
    ["many lines with comments and brackets", 'shell = true\nadmins = [ # who ]\n  # "]"\n]\nexec = true\n'],
    ["the last line without an end", "shell = true\nexec = true\nadmins = []"],
    ["no line at all", "shell = true\nexec = true"],
    ["an empty file", ""],
  ] as const
) {
  Deno.test(`withAdmins() replaces ${what}`, () => {
    const text = withAdmins(parseTomlSource("agent.toml", before), [{ name: "alice", key: alice }]);
    const config = configOf(text);
    assert.deepEqual(config.admins, [{ name: "alice", key: alice }]);
    for (const kept of ["shell = true\n", "exec = true\n"]) {
      assert.equal(text.includes(kept), before.includes(kept.trim()));
    }
  });
}
