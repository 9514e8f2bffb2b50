/**
 * What a server proves itself with: its Ed25519 key, its certificate for TLS, and the authorities that diallers are to
 * believe.
 *
 * Which authority is in force, the registry says and not the names of files: changing it is one row of the registry, and
 * the files are renamed afterwards. Whoever loads them finishes what a crash has left of that.
 */
import type { Pins } from "../../protocol/manage/control_contract.ts";
import { formatPublicKey, SigningKey } from "../../protocol/manage/signing_key.ts";
import { parseHostPort } from "../../protocol/manage/target_pattern.ts";
import { systemFiles, writeFileDurably } from "../../system/durable_file.ts";
import { Failure, UsageFailure } from "../../system/failure.ts";
import { certificateBytes, fits, type Issued } from "./certificates.ts";
import type { DataFolder } from "./data_folder.ts";
import { quoteName } from "./members.ts";
import type { Registry } from "./registry.ts";

/** All that a running server, and a token, takes from the folder but for the registry. */
export interface ServerIdentity {
  readonly serverKey: SigningKey;
  /** PEM. */
  readonly tlsCertificate: string;
  /** PEM, PKCS #8. */
  readonly tlsKey: string;
  /** Of `tlsCertificate`, in DER. */
  readonly tlsCertificateDer: Uint8Array<ArrayBuffer>;
  /** Of the authority that has issued it, in DER; what tokens carry. */
  readonly caCertificateDer: Uint8Array<ArrayBuffer>;
  /** What diallers are to store: the authority in force, and the next one while it is changed. */
  readonly pins: Pins;
  /** Whether the authority is being changed. */
  readonly rotating: boolean;
  /** Where others reach the server, "host:port". */
  readonly addresses: readonly string[];
}

/** Addresses that a token can carry. */
const MAX_ADDRESSES = 16;

/**
 * Loads it, for a registry that is open.
 *
 * @throws {Failure} if a file is missing, damaged, or of another server
 */
export async function loadServerIdentity(folder: DataFolder, registry: Registry): Promise<ServerIdentity> {
  await settleFiles(folder, registry);
  const caCertificate = await readText(folder.caCertificate);
  const tls: Issued = {
    certificate: await readText(folder.tlsCertificate),
    key: await readText(folder.tlsKey),
  };
  if (!await fits(tls, caCertificate)) {
    throw new Failure(
      `cannot use ${folder.tlsCertificate}: it does not fit ${folder.tlsKey}, or ${folder.caCertificate} has not issued it`,
      { hint: "take all files of one backup" },
    );
  }
  const serverKey = await readServerKey(folder);
  requireSame(folder.serverKey, formatPublicKey(serverKey.publicKey), registry.meta.text("server_key"));
  requireSame(
    folder.caCertificate,
    await certificateHash(caCertificate, folder.caCertificate),
    registry.meta.text("ca"),
  );
  const next = await nextAuthority(folder, registry);
  return {
    serverKey,
    tlsCertificate: tls.certificate,
    tlsKey: tls.key,
    tlsCertificateDer: certificateBytes(tls.certificate, folder.tlsCertificate),
    caCertificateDer: certificateBytes(caCertificate, folder.caCertificate),
    pins: {
      caCertificates: next === null ? [caCertificate] : [caCertificate, next],
      generation: registry.pinsGeneration(),
    },
    rotating: next !== null,
    addresses: await readAddresses(folder),
  };
}

/** SHA-256 of a certificate, as the registry knows it; `name` says which one, for errors. */
export async function certificateHash(certificate: string, name: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", certificateBytes(certificate, name));
  return new Uint8Array(hash).toHex();
}

/** The next authority's certificate while a change runs, else null. */
export async function nextAuthority(folder: DataFolder, registry: Registry): Promise<string | null> {
  const expected = registry.meta.text("next_ca") ?? "";
  if (expected === "") return null;
  const certificate = await readText(folder.nextCaCertificate);
  requireSame(
    folder.nextCaCertificate,
    await certificateHash(certificate, folder.nextCaCertificate),
    expected,
  );
  return certificate;
}

/**
 * Gives the files of a finished change their final names. By several programs at once it does no harm: each takes the same
 * steps in the same order, and passes over those that are done. The authority's certificate, by which it is seen that there
 * is something to do, comes last.
 */
export async function settleFiles(folder: DataFolder, registry: Registry): Promise<void> {
  const next = await readIfThere(folder.nextCaCertificate);
  if (next === null || await certificateHash(next, folder.nextCaCertificate) !== registry.meta.text("ca")) {
    return;
  }
  const renames = [
    [folder.nextTlsKey, folder.tlsKey],
    [folder.nextTlsCertificate, folder.tlsCertificate],
    [folder.nextCaKey, folder.caKey],
    [folder.nextCaCertificate, folder.caCertificate],
  ] as const;
  for (const [from, to] of renames) {
    try {
      await Deno.rename(from, to);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        throw new Failure(`could not write ${to}`, { cause: error });
      }
    }
  }
  await systemFiles.syncFolder(folder.path);
}

/** Writes the server's key: its seed in base64url, one line. */
export async function writeServerKey(folder: DataFolder, key: SigningKey): Promise<void> {
  const text = key.seed.toBase64({ alphabet: "base64url", omitPadding: true });
  await writeFileDurably(folder.serverKey, new TextEncoder().encode(`${text}\n`));
}

/** Reads it. */
export async function readServerKey(folder: DataFolder): Promise<SigningKey> {
  const text = (await readText(folder.serverKey)).trimEnd();
  try {
    return await SigningKey.fromSeed(Uint8Array.fromBase64(text, { alphabet: "base64url" }));
  } catch {
    // Said below, without what was found.
  }
  throw new Failure(
    `could not read ${folder.serverKey}: found no key, accepted are 43 characters of base64url`,
  );
}

/** Writes where others reach the server. */
export async function writeAddresses(folder: DataFolder, addresses: readonly string[]): Promise<void> {
  const text = `${JSON.stringify({ addresses }, null, 2)}\n`;
  await writeFileDurably(folder.settings, new TextEncoder().encode(text));
}

/** Reads that. */
export async function readAddresses(folder: DataFolder): Promise<readonly string[]> {
  const text = await readText(folder.settings);
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && "addresses" in value) {
      const { addresses } = value;
      if (Array.isArray(addresses) && addresses.every((each) => typeof each === "string")) {
        return checkAddresses(addresses);
      }
    }
  } catch (error) {
    if (error instanceof Failure) throw new Failure(`could not read ${folder.settings}: ${error.message}`);
  }
  throw new Failure(
    `could not read ${folder.settings}: found no addresses, accepted is {"addresses": ["HOST:PORT"]}`,
  );
}

/**
 * Checks where others are to reach the server; gives the same.
 *
 * @throws {Failure}
 */
export function checkAddresses(addresses: readonly string[]): readonly string[] {
  if (addresses.length === 0 || addresses.length > MAX_ADDRESSES) {
    throw new UsageFailure(
      `cannot use these addresses: found ${addresses.length}, accepted are 1 to ${MAX_ADDRESSES}`,
    );
  }
  for (const address of addresses) {
    if (parseHostPort(address) !== null) continue;
    throw new UsageFailure(
      `cannot use the address ${
        quoteName(address)
      }: accepted is HOST:PORT, such as manage.example:7022 or [2001:db8::1]:7022`,
    );
  }
  return addresses;
}

/** A text file of the folder. */
export async function readText(path: string): Promise<string> {
  const text = await readIfThere(path);
  if (text === null) throw new Failure(`could not read ${path}: there is no such file`);
  return text;
}

/** The same, or null if there is none. */
export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new Failure(`could not read ${path}`, { cause: error });
  }
}

function requireSame(path: string, found: string, expected: string | null): void {
  if (found === expected) return;
  throw new Failure(`cannot use ${path}: it is not the one that the registry knows`, {
    hint: "take all files of one backup",
  });
}
