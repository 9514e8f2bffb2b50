/** Finds the program that `deno compile` writes into: `denort`, from the same release of Deno for the same target. */
import { BuildFailure } from "./build_failure.ts";
import type { Target } from "./targets.ts";

/** Environment for `deno compile`, so that it takes this denort and asks no other host for one. */
export interface Denort {
  readonly path: string;
  /** `program`: by DENORT_BIN; `zip`: as what Deno itself would have downloaded. */
  readonly kind: "program" | "zip";
}

const RELEASE = `v${Deno.version.deno}`;

/**
 * Finds the denort of each target: in the folder that was given, else DENORT_BIN.
 *
 * @throws {BuildFailure} that says what to get and where to put it, for every target that has none, or a wrong one
 */
export async function findDenorts(
  targets: readonly Target[],
  folder: string | null,
): Promise<ReadonlyMap<Target, Denort>> {
  const found = new Map<Target, Denort>();
  const problems: string[] = [];
  for (const target of targets) {
    const denort = await findDenort(target, folder);
    const problem = denort === null ? missing(target, folder) : await mismatch(target, denort);
    if (problem !== null) problems.push(problem);
    else if (denort !== null) found.set(target, denort);
  }
  if (problems.length > 0) throw new BuildFailure(problems.join("\n"));
  return found;
}

/** Whether every target has one, without a word about those that have none. */
export async function hasDenorts(targets: readonly Target[], folder: string | null): Promise<boolean> {
  const found = await Promise.all(targets.map((target) => findDenort(target, folder)));
  return found.every((each) => each !== null);
}

async function findDenort({ triple, suffix }: Target, folder: string | null): Promise<Denort | null> {
  if (folder === null) {
    const path = Deno.env.get("DENORT_BIN") ?? "";
    return path === "" ? null : { path: await Deno.realPath(path).catch(() => path), kind: "program" };
  }
  for (
    const [name, kind] of [[`denort-${triple}.zip`, "zip"], [`denort-${triple}${suffix}`, "program"]] as const
  ) {
    const path = await Deno.realPath(`${folder}/${name}`).catch(() => null);
    if (path !== null) return { path, kind };
  }
  return null;
}

function missing({ triple }: Target, folder: string | null): string {
  return `cannot compile for ${triple}: found no denort ` +
    (folder === null ? "(DENORT_BIN is not set and --denort not given)" : `in ${folder}`) +
    `; get denort-${triple}.zip of the Deno release ${RELEASE} ` +
    `(https://github.com/denoland/deno/releases/download/${RELEASE}/denort-${triple}.zip), ` +
    `put it as it is into ${folder ?? "a folder DIR"} and give --denort ${folder ?? "DIR"}`;
}

const ELF_MACHINES: Readonly<Record<string, number>> = { x86_64: 0x3e, aarch64: 0xb7 };
const ELF_MACHINE_OFFSET = 18, HEAD_BYTES = 20;

/** What is wrong with it, or null. A zip is left to `deno compile`. */
async function mismatch(target: Target, { path, kind }: Denort): Promise<string | null> {
  if (kind === "zip") return null;
  const head = new Uint8Array(HEAD_BYTES);
  try {
    using file = await Deno.open(path);
    await file.read(head);
  } catch (error) {
    return `cannot compile for ${target.triple}: cannot read denort: ${
      error instanceof Error ? error.message : error
    }`;
  }
  const format = programFormat(head);
  const machine = head[ELF_MACHINE_OFFSET];
  const isRight = format === target.format &&
    (format !== "ELF" || machine === ELF_MACHINES[target.triple.split("-")[0] ?? ""]);
  if (isRight) return null;
  return `cannot compile for ${target.triple}: ${path} is ${format ?? "no program"}` +
    `${
      format === target.format ? " of another processor" : ""
    }, accepted: a denort of that target (${target.format}), ` +
    `such as the one in denort-${target.triple}.zip of the Deno release ${RELEASE}; put it into a folder DIR and give --denort DIR`;
}

function programFormat(head: Uint8Array): Target["format"] | null {
  const magic = head.subarray(0, 4).toHex();
  if (magic === "7f454c46") return "ELF";
  if (magic === "cffaedfe") return "Mach-O";
  return magic.startsWith("4d5a") ? "PE" : null;
}
