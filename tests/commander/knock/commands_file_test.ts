import assert from "node:assert/strict";
import { readCommandsFile } from "../../../src/commander/knock/commands_file.ts";
import { Failure } from "../../../src/system/failure.ts";

const SELF = Deno.uid() ?? 0;
const NOBODY = 65534;
const isRoot = SELF === 0;

async function withCommands(
  text: string,
  test: (path: string, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-commands-" });
  try {
    await Deno.writeTextFile(`${folder}/commands.toml`, text, { mode: 0o600 });
    await test(`${folder}/commands.toml`, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function refusal(path: string, self = SELF): Promise<Failure> {
  try {
    await readCommandsFile(path, self);
  } catch (error) {
    assert.ok(error instanceof Failure);
    return error;
  }
  return assert.fail("accepted");
}

Deno.test("readCommandsFile() reads a file of our own", async () => {
  await withCommands('[commands]\ndefault = "echo hello"\n', async (path) => {
    const file = await readCommandsFile(path, SELF);
    assert.deepEqual(file.commands.map((spec) => spec.name), ["default"]);
    assert.deepEqual(file.warnings, []);
  });
});

for (const mode of [0o620, 0o602, 0o666]) {
  Deno.test(`readCommandsFile() refuses mode ${mode.toString(8)} and says how to mend it`, async () => {
    await withCommands('[commands]\na = "hunter2"\n', async (path) => {
      await Deno.chmod(path, mode);
      const failure = await refusal(path);
      assert.match(
        failure.message,
        new RegExp(`could not trust ${path}: found mode 0${mode.toString(8)}, accepted`),
      );
      assert.match(failure.hint ?? "", /chmod go-w/);
      assert.ok(!failure.message.includes("hunter2"));
    });
  });
}

Deno.test({
  name: "readCommandsFile() refuses another user's file, but takes root's and its own (needs root to chown)",
  ignore: !isRoot,
  async fn(): Promise<void> {
    await withCommands('[commands]\na = "x"\n', async (path) => {
      assert.equal((await readCommandsFile(path, NOBODY)).commands.length, 1);
      await Deno.chown(path, NOBODY, NOBODY);
      assert.match((await refusal(path, 0)).message, /found owned by uid 65534, accepted is owner root/);
      assert.equal((await readCommandsFile(path, NOBODY)).commands.length, 1);
    });
  },
});

Deno.test("readCommandsFile() warns of a folder in which others can exchange the file", async () => {
  await withCommands('[commands]\na = "x"\n', async (path, folder) => {
    await Deno.chmod(folder, 0o777);
    const { warnings } = await readCommandsFile(path, SELF);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /others may replace files in this folder \(mode 0777\)/);
  });
});

Deno.test("readCommandsFile() warns of a file without commands", async () => {
  await withCommands("[commands]\n", async (path) => {
    assert.deepEqual((await readCommandsFile(path, SELF)).warnings, [
      `${path}: no commands, so every knock is ignored`,
    ]);
  });
});

Deno.test("readCommandsFile() never quotes a broken file", async () => {
  await withCommands('[commands]\na = "hunter2\nb = "hunter2"\n', async (path) => {
    const failure = await refusal(path);
    assert.equal(failure.message, `${path}:2:13: found no valid TOML`);
    assert.equal(failure.cause, undefined);
  });
});

Deno.test("readCommandsFile() never quotes a wrong value", async () => {
  await withCommands('[commands]\na = { cmd = "x", timeout_sec = "hunter2" }\n', async (path) => {
    assert.equal(
      (await refusal(path)).message,
      `${path}:2: commands.a.timeout_sec: found text, accepted is a whole number from 1 to 2000000`,
    );
  });
});

Deno.test("readCommandsFile() names a file that is missing, a folder, or not UTF-8", async () => {
  await withCommands("", async (path, folder) => {
    assert.match((await refusal(`${folder}/none.toml`)).message, /none.toml: there is no such file/);
    assert.match((await refusal(folder)).message, /found no regular file/);
    await Deno.writeFile(path, new Uint8Array([0xff, 0xfe]));
    assert.match((await refusal(path)).message, /not UTF-8/);
  });
});
