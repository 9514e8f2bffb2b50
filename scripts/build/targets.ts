/** The machines that executables are built for, and where the runtime of each comes from. */
import pins from "./runtime_pins.json" with { type: "json" };

/** The runtime in the npm registry: this file of this package and no other. */
export interface RuntimePin {
  readonly package: string;
  readonly version: string;
  /** `sha512-` and base64, as npm writes it. */
  readonly integrity: string;
  /** Of the program in the package, hexadecimal. */
  readonly sha256: string;
}

export interface Target {
  /** As `deno compile --target` and the names of the executables have it. */
  readonly triple: string;
  /** What an executable's name ends with. */
  readonly suffix: "" | ".exe";
  /** The format of its programs, which `deno compile` writes into. */
  readonly format: "ELF" | "Mach-O" | "PE";
  /** null: it has no shell that could unpack itself. */
  readonly runtime: RuntimePin | null;
}

export const TARGETS: readonly Target[] = [
  {
    triple: "x86_64-unknown-linux-gnu",
    suffix: "",
    format: "ELF",
    runtime: pins["x86_64-unknown-linux-gnu"],
  },
  {
    triple: "aarch64-unknown-linux-gnu",
    suffix: "",
    format: "ELF",
    runtime: pins["aarch64-unknown-linux-gnu"],
  },
  { triple: "x86_64-apple-darwin", suffix: "", format: "Mach-O", runtime: pins["x86_64-apple-darwin"] },
  { triple: "aarch64-apple-darwin", suffix: "", format: "Mach-O", runtime: pins["aarch64-apple-darwin"] },
  { triple: "x86_64-pc-windows-msvc", suffix: ".exe", format: "PE", runtime: null },
];

/** The target of that name, or undefined. */
export function findTarget(triple: string): Target | undefined {
  return TARGETS.find((target) => target.triple === triple);
}

/** `postern-<role>-<target>[.exe]`. */
export function executableName(role: string, { triple, suffix }: Target): string {
  return `postern-${role}-${triple}${suffix}`;
}
