/** The command line of `deno task compile`. */
import { parseArgs } from "node:util";
import { type Role, ROLES } from "../../src/cli/command_spec.ts";
import { findTarget, type Target, TARGETS } from "./targets.ts";

export const FORMATS = ["self-extracting", "compile", "bundle"] as const;
export type Format = (typeof FORMATS)[number];

export interface CompileOptions {
  readonly roles: readonly Role[];
  readonly targets: readonly Target[];
  /** null: to be chosen. */
  readonly format: Format | null;
  readonly configPath: string | null;
  readonly denortFolder: string | null;
  readonly releaseKeyPath: string | null;
  readonly out: string;
  /** No start times. */
  readonly quick: boolean;
}

export const USAGE = `usage: deno task compile [options]

Builds executables into dist/: postern-<role>-<target>[.exe], postern.js (the whole program, for machines that have
Deno) and SHA256SUMS.

  --role ROLE         ${ROLES.join(", ")} or all; may be given again (default: all)
  --target TARGET     one of those below, or all; may be given again (default: this machine's)
  --format FORMAT     self-extracting: a shell program with the Deno runtime from the npm registry in it
                      compile: deno compile, with the permissions built in; needs denort (--denort or DENORT_BIN)
                      bundle: postern.js alone
                      (default: compile if denort is at hand for every target, else self-extracting)
  --config FILE       build in the permissions for this configuration's layout (compile; default: deploy/config.toml's)
  --denort DIR        folder with denort-<target>.zip of this Deno's release, or denort-<target>[.exe] out of it
  --release-key FILE  Ed25519 public key of the releases that "client update" accepts
  --out DIR           (default: dist)
  --quick             measure no start times
  -h, --help

Targets:
${TARGETS.map(({ triple }) => `  ${triple}\n`).join("")}
postern.js is started by

  deno run --no-prompt --cached-only --unstable-net FLAGS postern.js WORDS...

where FLAGS are what  deno run --no-prompt --allow-read=CONFIG postern.js permissions --flags -- WORDS...  prints.

Exit codes: 0 done, 1 failed, 2 wrong usage`;

export class WrongUsage extends Error {}

/**
 * Reads the command line; null if help was asked for.
 *
 * @throws {WrongUsage} naming the word that is wrong and what is accepted
 */
export function readOptions(args: readonly string[]): CompileOptions | null {
  const values = readValues(args);
  if (values.help) return null;
  const format = values.format === undefined ? null : oneOf("--format", values.format, FORMATS);
  const roles = chosen("--role", values.role ?? ["all"], ROLES);
  const names = TARGETS.map(({ triple }) => triple);
  const targets = chosen("--target", values.target ?? [Deno.build.target], names);
  return {
    roles,
    targets: targets.flatMap((name) => findTarget(name) ?? []),
    format,
    configPath: values.config ?? null,
    denortFolder: values.denort ?? null,
    releaseKeyPath: values["release-key"] ?? null,
    out: values.out,
    quick: values.quick,
  };
}

function readValues(args: readonly string[]): {
  role?: string[];
  target?: string[];
  format?: string;
  config?: string;
  denort?: string;
  "release-key"?: string;
  out: string;
  quick: boolean;
  help: boolean;
} {
  try {
    return parseArgs({
      args: [...args],
      options: {
        role: { type: "string", multiple: true },
        target: { type: "string", multiple: true },
        format: { type: "string" },
        config: { type: "string" },
        denort: { type: "string" },
        "release-key": { type: "string" },
        out: { type: "string", default: "dist" },
        quick: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    throw new WrongUsage(error instanceof Error ? error.message : String(error));
  }
}

function chosen<Name extends string>(
  option: string,
  given: readonly string[],
  known: readonly Name[],
): Name[] {
  if (given.includes("all")) return [...known];
  const wanted = given.map((name) => oneOf(option, name, known));
  return known.filter((name) => wanted.includes(name));
}

function oneOf<Name extends string>(option: string, given: string, known: readonly Name[]): Name {
  const found = known.find((name) => name === given);
  if (found !== undefined) return found;
  throw new WrongUsage(`${option}: found "${given}", accepted: ${known.join(", ")}`);
}
