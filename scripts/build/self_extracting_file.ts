/** Puts a self-extracting executable together. Its format: `src/setup/self_extracting.ts`. */
import { type Role, ROLES } from "../../src/cli/command_spec.ts";
import { HEADER_BYTES, roleLine } from "../../src/setup/self_extracting.ts";
import { BuildFailure } from "./build_failure.ts";
import { sha256Hex } from "./hash.ts";

const HEADER_URL = new URL("../../src/setup/self_extracting_header.sh", import.meta.url);

export interface SelfExtractingParts {
  readonly target: string;
  readonly bundles: Readonly<Record<Role, Uint8Array<ArrayBuffer>>>;
  /** The package from the npm registry. */
  readonly runtimePackage: Uint8Array<ArrayBuffer>;
  /** Of the program in it, hexadecimal. */
  readonly runtimeSha256: string;
}

/** The executable of a role: the same parts and the same role give the same bytes. */
export async function selfExtractingFile(
  parts: SelfExtractingParts,
  role: Role,
): Promise<Uint8Array<ArrayBuffer>> {
  const values = new Map([["target", parts.target], ["runtime_sha256", parts.runtimeSha256]]);
  let end = HEADER_BYTES;
  for (const each of ROLES) {
    const bytes = parts.bundles[each];
    values.set(`${each}_at`, fromOne(end));
    values.set(`${each}_bytes`, `${bytes.length}`);
    values.set(`${each}_sha256`, await sha256Hex(bytes));
    end += bytes.length;
  }
  values.set("runtime_at", fromOne(end));
  const template = await Deno.readTextFile(HEADER_URL);
  const header = new TextEncoder().encode(fillIn(template.replace("role=@role@", roleLine(role)), values));
  if (header.length > HEADER_BYTES) {
    throw new BuildFailure(
      `cannot make the header: it has ${header.length} bytes, accepted: up to ${HEADER_BYTES}`,
    );
  }
  const file = new Uint8Array(end + parts.runtimePackage.length);
  file.fill("\n".charCodeAt(0), 0, HEADER_BYTES);
  file.set(header);
  let at = HEADER_BYTES;
  for (const bytes of [...ROLES.map((each) => parts.bundles[each]), parts.runtimePackage]) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

/** tail(1) counts from one. */
function fromOne(offset: number): string {
  return `${offset + 1}`;
}

function fillIn(template: string, values: ReadonlyMap<string, string>): string {
  return template.replaceAll(/@([a-z0-9_]+)@/g, (_match, name: string) => {
    const value = values.get(name);
    if (value === undefined) {
      throw new BuildFailure(`cannot make the header: nothing is known about @${name}@`);
    }
    return value;
  });
}
