/** One role's executable by `deno compile`, with exactly the role's permissions in it. */
import type { Role } from "../../src/cli/command_spec.ts";
import { rolePermissions } from "../../src/cli/permission_table.ts";
import { permissionFlags, permissionSet } from "../../src/system/permissions.ts";
import type { Denort } from "./denort.ts";
import { outputOf } from "./program.ts";
import type { Target } from "./targets.ts";

export interface CompileInput {
  readonly role: Role;
  readonly target: Target;
  readonly denort: Denort;
  readonly bundle: Uint8Array;
  /** Whose layout the permissions are for; null: the standard one of `deploy/config.toml`. */
  readonly configPath: string | null;
}

/**
 * Compiles to `path`.
 *
 * @throws {BuildFailure} if `deno compile` fails
 * @throws {Failure} if the configuration cannot be read
 */
export async function compileRole(input: CompileInput, path: string): Promise<void> {
  const { role, target, denort, configPath } = input;
  const grants = await rolePermissions(role, configPath ?? undefined);
  const folder = await Deno.makeTempDir({ prefix: "postern-compile-" });
  try {
    await Deno.writeFile(`${folder}/postern.js`, input.bundle);
    await outputOf(`cannot compile ${role} for ${target.triple}`, Deno.execPath(), [
      ...["compile", "--quiet", "--no-config", "--no-lock", "--no-check", "--target", target.triple],
      ...["--output", path, "--no-prompt", "--deny-import", "--unstable-net"],
      ...permissionFlags(permissionSet(grants)),
      `${folder}/postern.js`,
    ], { env: { NO_COLOR: "1", ...await denortEnvironment(denort, target, folder) } });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A zip is found where Deno keeps what it downloaded; a bundle needs nothing else of that folder. */
async function denortEnvironment(
  { path, kind }: Denort,
  { triple }: Target,
  folder: string,
): Promise<Record<string, string>> {
  if (kind === "program") return { DENORT_BIN: path };
  const releases = `${folder}/deno/dl/release/v${Deno.version.deno}`;
  await Deno.mkdir(releases, { recursive: true });
  await Deno.copyFile(path, `${releases}/denort-${triple}.zip`);
  return { DENO_DIR: `${folder}/deno`, DENORT_BIN: "" };
}
