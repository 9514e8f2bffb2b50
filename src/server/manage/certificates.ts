/**
 * The certificate authority of a management server, and the certificate for TLS that it issues.
 *
 * Both are good from 1970 to 9999: a host whose clock begins in 1970 must not be cut off, and nothing is ever to be renewed
 * in time. What an expiry is for, the change of keys, is `rotate-ca`; whom to believe, the pins say, and the server proves
 * its own key besides. Loads @peculiar/x509 when it is needed first.
 */
import type * as X509 from "@peculiar/x509";
import { Failure } from "../../system/failure.ts";

/** A certificate with its private key, both in PEM; the key as PKCS #8. */
export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

/** The DNS name that every server's certificate is for; diallers ask for it whatever the address. */
export const SERVER_NAME = "postern";

/** Of all keys: what both node:tls and rustls take. */
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const NOT_BEFORE = new Date(0);
/** RFC 5280, 4.1.2.5: says that no end is meant. */
const NOT_AFTER = new Date("9999-12-31T23:59:59Z");
const SERIAL_BYTES = 16;
const NAME_BYTES = 4;
/** Extended key usage, RFC 5280, 4.2.1.12. */
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

/** Makes a new authority. */
export async function makeAuthority(): Promise<Issued> {
  const keys = await makeKeys();
  return {
    certificate: await certifyAuthority(keys),
    key: pem("PRIVATE KEY", new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey))),
  };
}

/**
 * Makes the certificate anew for an authority of which only the key is there; what was pinned before, if ever, was another
 * one.
 *
 * @throws {Failure} if the text is no such key
 */
export async function certifyAgain(key: string): Promise<Issued> {
  return { certificate: await certifyAuthority(await readKeys(key)), key };
}

/** Issues the certificate for TLS, with a key of its own: an authority may not be its own end entity. */
export async function issueServerCertificate(authority: Issued): Promise<Issued> {
  const x509 = await loadX509();
  const { privateKey } = await readKeys(authority.key);
  const keys = await makeKeys();
  const issuer = new x509.X509Certificate(authority.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${SERVER_NAME}`,
    issuer: issuer.subject,
    notBefore: NOT_BEFORE,
    notAfter: NOT_AFTER,
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: privateKey,
    extensions: [
      new x509.SubjectAlternativeNameExtension([{ type: "dns", value: SERVER_NAME }]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([SERVER_AUTH]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return {
    certificate: pem("CERTIFICATE", new Uint8Array(certificate.rawData)),
    key: pem("PRIVATE KEY", new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey))),
  };
}

/** Whether a certificate was issued by this authority and fits the key beside it; without loading what issues them. */
export async function fits(issued: Issued, authority: string): Promise<boolean> {
  const { createPrivateKey, X509Certificate } = await import("node:crypto");
  try {
    const certificate = new X509Certificate(issued.certificate);
    const issuer = new X509Certificate(authority);
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey) &&
      certificate.checkPrivateKey(createPrivateKey(issued.key));
  } catch {
    return false; // damaged
  }
}

/**
 * The bytes of a certificate in PEM.
 *
 * @throws {Failure} if it is none; `name` says which
 */
export function certificateBytes(text: string, name: string): Uint8Array<ArrayBuffer> {
  const [, base64] =
    /^-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)\n-----END CERTIFICATE-----\n$/.exec(text) ??
      [];
  try {
    if (base64 !== undefined) return Uint8Array.fromBase64(base64);
  } catch {
    // Said below.
  }
  throw new Failure(`could not read ${name}: found no certificate, accepted is one in PEM`);
}

async function certifyAuthority(keys: CryptoKeyPair): Promise<string> {
  const x509 = await loadX509();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    // A name of its own: while two are pinned, a verifier looks for the issuer by its name.
    name: `CN=Postern management ${randomBytes(NAME_BYTES).toHex()}`,
    notBefore: NOT_BEFORE,
    notAfter: NOT_AFTER,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return pem("CERTIFICATE", new Uint8Array(certificate.rawData));
}

async function makeKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

/** Both keys of a pair, of the private one in PEM. */
async function readKeys(text: string): Promise<CryptoKeyPair> {
  try {
    const [, base64 = ""] =
      /^-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END PRIVATE KEY-----\n$/.exec(text) ?? [];
    const pkcs8 = Uint8Array.fromBase64(base64);
    const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, ALGORITHM, true, ["sign"]);
    const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", privateKey);
    const jwk = { kty, crv, x, y } as JsonWebKey;
    return { privateKey, publicKey: await crypto.subtle.importKey("jwk", jwk, ALGORITHM, true, ["verify"]) };
  } catch {
    // Without the cause: it may quote what was found.
    throw new Failure("could not use a private key: found none, accepted is one of P-256 in PEM (PKCS #8)");
  }
}

async function loadX509(): Promise<typeof X509> {
  await import("reflect-metadata"); // x509's dependency injection looks for it
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(crypto);
  return x509;
}

/** Hexadecimal digits; RFC 5280, 4.1.2.2: positive, so that the highest bit is 0, and with entropy. */
function serialNumber(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = (bytes[0] ?? 0) & 0x7f | 0x40;
  return bytes.toHex();
}

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length));
}

function pem(label: string, bytes: Uint8Array): string {
  const lines = bytes.toBase64().match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}
