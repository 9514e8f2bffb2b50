/** A registry that answers otherwise than the pins say is refused, however consistent its answers are. */
import assert from "node:assert/strict";
import { findTarget } from "../../scripts/build/targets.ts";
import { unless } from "../e2e/machine.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { buildObstacle, compile, type CompileResult } from "./built_files.ts";

const OTHER_BYTES = "not the runtime";
const OTHER_INTEGRITY = `sha512-${
  new Uint8Array(await crypto.subtle.digest("SHA-512", new TextEncoder().encode(OTHER_BYTES))).toBase64()
}`;

/** Builds with an npm that says and packs this. */
async function buildFrom(integrity: string, folder: string): Promise<CompileResult> {
  const script = `#!/bin/sh
case $1 in
view) echo '${integrity}' ;;
pack) while [ "$1" != --pack-destination ]; do shift; done; printf '${OTHER_BYTES}' >"$2/runtime.tgz" ;;
esac
`;
  await Deno.mkdir(`${folder}/bin`);
  await Deno.writeTextFile(`${folder}/bin/npm`, script, { mode: 0o755 });
  return await compile(["--format", "self-extracting", "--quick", "--out", `${folder}/out`], {
    PATH: `${folder}/bin:${Deno.env.get("PATH") ?? ""}`,
  });
}

for (
  const [what, integrity, says] of [
    [
      "another integrity",
      OTHER_INTEGRITY,
      /the registry says its integrity is sha512-\S+, accepted: sha512-/,
    ],
    [
      "other bytes under the pinned integrity",
      findTarget(Deno.build.target)?.runtime?.integrity ?? "",
      /the integrity of what came is sha512-\S+, accepted: sha512-/,
    ],
  ] as const
) {
  Deno.test({
    ...unless(buildObstacle(), `deno task compile refuses a registry with ${what}`),
    timeout: 30_000,
    async fn(): Promise<void> {
      await using folder = await TempFolder.make("registry");
      const { code, stderr } = await buildFrom(integrity, folder.path);
      assert.equal(code, 1, stderr);
      assert.match(stderr, says);
      assert.deepEqual(await Array.fromAsync(Deno.readDir(`${folder.path}/out`)), []);
    },
  });
}
