/** The self-extracting executables of this machine, built once for all tests that want them. */
import assert from "node:assert/strict";
import { type Role, ROLES } from "../../src/cli/command_spec.ts";

const COMPILE = new URL("../../scripts/compile.ts", import.meta.url).pathname;
const TARGETS_WITH_RUNTIME = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/** Why no self-extracting executable runs here, or null. */
export function buildObstacle(): string | null {
  return TARGETS_WITH_RUNTIME.includes(Deno.build.target) ? null : "not Linux";
}

export interface CompileResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `deno task compile` with these words. */
export async function compile(
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<CompileResult> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", COMPILE, ...words],
    env: { DENORT_BIN: "", ...env },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

export class BuiltFiles {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Builds the executable of every role into this folder, readable for everybody. */
  static async build(folder: string): Promise<BuiltFiles> {
    const { code, stderr } = await compile(["--format", "self-extracting", "--quick", "--out", folder]);
    assert.equal(code, 0, stderr);
    await Deno.chmod(folder, 0o755);
    return new BuiltFiles(folder);
  }

  path(role: Role): string {
    return `${this.folder}/postern-${role}-${Deno.build.target}`;
  }

  get paths(): string[] {
    return ROLES.map((role) => this.path(role));
  }
}
