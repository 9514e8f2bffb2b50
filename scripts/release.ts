/**
 * Makes a signed release of the executables in `dist/`, for `postern client update`:
 *
 *   deno task release --new-key release.key            a key pair: release.key (secret), release.key.pub
 *   deno task release --key release.key --out DIR      DIR/<version>/..., then DIR/latest/
 *
 * Options: --dist DIR (dist), --version V (that of deno.json), --expires DAYS (90). Formats: `docs/wire-formats.md`.
 * Run again with the same version and files it renews the expiry; with other files it refuses.
 */
import { parseArgs } from "node:util";
import config from "../deno.json" with { type: "json" };
import { describeError } from "../src/system/failure.ts";
import { latestVersion, makeRelease } from "./release_folder.ts";
import { makeReleaseKey, readReleaseKey } from "./release_key.ts";

const USAGE = `usage: deno task release --new-key FILE
       deno task release --key FILE --out DIR [--dist DIR] [--version V] [--expires DAYS]
`;
const MS_PER_DAY = 24 * 60 * 60 * 1000;
const MAX_EXPIRES_DAYS = 3650;

async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      "new-key": { type: "string" },
      key: { type: "string" },
      out: { type: "string" },
      dist: { type: "string", default: "dist" },
      version: { type: "string", default: config.version },
      expires: { type: "string", default: "90" },
    },
  });
  const newKey = values["new-key"];
  if (newKey !== undefined) {
    const publicText = await makeReleaseKey(newKey);
    return print(
      `${newKey}: keep it secret, and off the server that serves releases\n${newKey}.pub: ${publicText}\n`,
    );
  }
  const { key: keyPath, out, dist, version } = values;
  if (keyPath === undefined || out === undefined) throw new Error(USAGE);
  const days = /^[0-9]{1,4}$/.test(values.expires) ? Number(values.expires) : 0;
  if (days < 1 || days > MAX_EXPIRES_DAYS) {
    throw new Error(`--expires: found "${values.expires}", accepted: days from 1 to ${MAX_EXPIRES_DAYS}`);
  }
  const nowMs = Date.now();
  const { files } = await makeRelease({
    distDir: dist,
    outDir: out,
    version,
    createdMs: nowMs,
    expiresMs: nowMs + days * MS_PER_DAY,
    key: await readReleaseKey(keyPath),
  });
  for (const { name, size, sha256 } of files) print(`${sha256}  ${name} (${size} bytes)\n`);
  print(`${out}/${version} is signed for ${days} days; ${out}/latest leads to ${await latestVersion(out)}\n`);
}

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    Deno.stderr.writeSync(new TextEncoder().encode(`error: ${describeError(error)}\n`));
    Deno.exit(1);
  }
}
