import assert from "node:assert/strict";
import { removeUnusedCache } from "../../../src/setup/update/unused_cache.ts";
import { UpdateLab } from "./update_lab.ts";

const [RUNTIME, BUNDLE, OTHER_BUNDLE, GONE] = ["a", "b", "c", "d"].map((letter) => letter.repeat(64));

async function entries(lab: UpdateLab): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(lab.layout.cacheDir)) names.push(entry.name);
  return names.sort();
}

async function makeLab(): Promise<UpdateLab> {
  const lab = await UpdateLab.make(["server", "commander"]);
  for (const name of [RUNTIME, BUNDLE, OTHER_BUNDLE, GONE, ".new.Ab3", "readme"]) {
    await Deno.mkdir(`${lab.layout.cacheDir}/${name}`, { recursive: true });
    await Deno.writeTextFile(`${lab.layout.cacheDir}/${name}/deno`, "");
  }
  return lab;
}

Deno.test("removeUnusedCache() keeps what any installed executable carries, and what is not its own", async () => {
  await using lab = await makeLab();
  await Deno.writeTextFile(lab.path("server"), `#!/bin/sh\nruntime_sha256=${RUNTIME}\nserver) ${BUNDLE}\n`);
  await Deno.writeTextFile(
    lab.path("commander"),
    `#!/bin/sh\nruntime_sha256=${RUNTIME}\nx) ${OTHER_BUNDLE}\n`,
  );
  await removeUnusedCache(lab.layout);
  assert.deepEqual(await entries(lab), [".new.Ab3", RUNTIME, BUNDLE, OTHER_BUNDLE, "readme"]);
});

Deno.test("removeUnusedCache() removes nothing if no installed executable unpacks anything", async () => {
  await using lab = await makeLab();
  const before = await entries(lab);
  await removeUnusedCache(lab.layout);
  assert.deepEqual(await entries(lab), before);
});

Deno.test("removeUnusedCache() has nothing to do where there is no cache", async () => {
  await using lab = await UpdateLab.make();
  await Deno.writeTextFile(lab.path("server"), RUNTIME ?? "");
  await removeUnusedCache(lab.layout);
});
