/** Certificates for tests, made by openssl: a root, and one for 127.0.0.1 and "postern.test" that it signed. */

/** All in PEM. */
export interface TestCertificates {
  readonly root: string;
  readonly cert: string;
  readonly key: string;
}

/** Makes a fresh set. */
export async function makeCertificates(): Promise<TestCertificates> {
  const folder = await Deno.makeTempDir();
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"];
  try {
    await openssl(
      folder,
      "req",
      "-x509",
      ...curve,
      "-keyout",
      "root.key",
      "-out",
      "root.pem",
      "-subj",
      "/CN=test root",
    );
    await openssl(
      folder,
      ...["req", "-x509", ...curve, "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=postern.test"],
      ...["-CA", "root.pem", "-CAkey", "root.key", "-addext", "subjectAltName=DNS:postern.test,IP:127.0.0.1"],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
    );
    const [root, cert, key] = await Promise.all(
      ["root.pem", "cert.pem", "key.pem"].map((name) => Deno.readTextFile(`${folder}/${name}`)),
    );
    return { root: root ?? "", cert: cert ?? "", key: key ?? "" };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function openssl(cwd: string, ...args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args: [...args], cwd }).output();
  if (!success) throw new Error(`openssl ${args[0]} failed: ${new TextDecoder().decode(stderr)}`);
}
