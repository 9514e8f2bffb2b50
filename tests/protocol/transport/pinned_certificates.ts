/** Certificates as a management server has them, for tests: a CA, and a leaf for a name that it signed. */
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const VALID = { notBefore: new Date(0), notAfter: new Date("9999-12-31T23:59:59Z") };

/** All in PEM but the last. */
export interface PinnedCertificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** The leaf, DER. */
  readonly der: Uint8Array<ArrayBuffer>;
}

/** Makes a fresh set; every CA has the same name, so that only its key tells one from the other. */
export async function pinnedCertificates(name = "postern"): Promise<PinnedCertificates> {
  const keys = await keyPair(), leafKeys = await keyPair();
  const common = { ...VALID, signingAlgorithm: ALGORITHM };
  const ca = await X509CertificateGenerator.createSelfSigned({
    ...common,
    serialNumber: "01",
    name: "CN=test CA",
    keys,
    extensions: [new BasicConstraintsExtension(true, 0, true)],
  });
  const leaf = await X509CertificateGenerator.create({
    ...common,
    serialNumber: "02",
    subject: `CN=${name}`,
    issuer: ca.subject,
    publicKey: leafKeys.publicKey,
    signingKey: keys.privateKey,
    extensions: [new SubjectAlternativeNameExtension([{ type: "dns", value: name }])],
  });
  const key = PemConverter.encode(await crypto.subtle.exportKey("pkcs8", leafKeys.privateKey), "PRIVATE KEY");
  return { ca: ca.toString("pem"), cert: leaf.toString("pem"), key, der: new Uint8Array(leaf.rawData) };
}

/** One that nobody but itself has signed, for the right name. */
export async function selfSigned(name = "postern"): Promise<PinnedCertificates> {
  const keys = await keyPair();
  const leaf = await X509CertificateGenerator.createSelfSigned({
    ...VALID,
    signingAlgorithm: ALGORITHM,
    serialNumber: "03",
    name: `CN=${name}`,
    keys,
    extensions: [new SubjectAlternativeNameExtension([{ type: "dns", value: name }])],
  });
  const key = PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
  const pem = leaf.toString("pem");
  return { ca: pem, cert: pem, key, der: new Uint8Array(leaf.rawData) };
}

async function keyPair(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as CryptoKeyPair;
}
