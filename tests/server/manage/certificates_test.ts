import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import * as tls from "node:tls";
import {
  certificateBytes,
  certifyAgain,
  fits,
  type Issued,
  issueServerCertificate,
  makeAuthority,
  SERVER_NAME,
} from "../../../src/server/manage/certificates.ts";
import { Failure } from "../../../src/system/failure.ts";
import { succeeds, unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

const GREETING = new TextEncoder().encode("hello");
const openssl = await succeeds("openssl", ["version"]) ? null : "no openssl";

/** A TLS server that greets every connection whose handshake succeeds. */
class Greeter implements AsyncDisposable {
  readonly #listener: Deno.TlsListener;
  readonly #serving: Promise<void>;

  constructor({ certificate, key }: Issued) {
    this.#listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: certificate, key });
    this.#serving = this.#serve();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  async #serve(): Promise<void> {
    for await (const connection of this.#listener) {
      try {
        await connection.write(GREETING);
      } catch {
        // Its client did not believe the certificate.
      }
      connection.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving;
  }
}

/** What `node:tls` says to the server, as a dialler asks it. */
function greetingByNode(port: number, ca: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host: "127.0.0.1",
      port,
      ca: [...ca],
      servername: SERVER_NAME,
      minVersion: "TLSv1.3",
    });
    socket.once("data", (data) => {
      const text = `${data} ${socket.getProtocol()} ${
        new Uint8Array(socket.getPeerCertificate().raw).toHex()
      }`;
      socket.once("close", () => resolve(text));
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

async function greetingByDeno(port: number, ca: readonly string[]): Promise<string> {
  const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
  const connection = await Deno.startTls(tcp, { hostname: SERVER_NAME, caCerts: [...ca] });
  try {
    const buffer = new Uint8Array(GREETING.length);
    await connection.read(buffer);
    return new TextDecoder().decode(buffer);
  } finally {
    connection.close();
  }
}

Deno.test("makeAuthority() and issueServerCertificate() are good from 1970 to 9999, for what they are only", async () => {
  const authority = await makeAuthority();
  const issued = await issueServerCertificate(authority);
  const ca = new X509Certificate(authority.certificate), leaf = new X509Certificate(issued.certificate);
  for (const certificate of [ca, leaf]) {
    assert.equal(new Date(certificate.validFrom).getTime(), 0);
    assert.equal(new Date(certificate.validTo).getTime(), Date.UTC(9999, 11, 31, 23, 59, 59));
  }
  assert.equal(ca.ca, true);
  assert.equal(leaf.ca, false);
  assert.match(leaf.subjectAltName ?? "", /DNS:"?postern"?/);
  assert.equal(leaf.checkIssued(ca), true);
  const der = certificateBytes(issued.certificate, "tls.pem");
  assert.equal(der.toHex(), new Uint8Array(leaf.raw).toHex());
});

Deno.test("issueServerCertificate() gives what node:tls and Deno believe with the authority pinned, and not without", async () => {
  const authority = await makeAuthority(), other = await makeAuthority();
  const issued = await issueServerCertificate(authority);
  await using greeter = new Greeter(issued);
  const { port } = greeter;
  const der = certificateBytes(issued.certificate, "tls.pem").toHex();
  // Also beside another one that is pinned, in either order: an authority is being changed.
  for (const pinned of [[authority], [authority, other], [other, authority]]) {
    const ca = pinned.map(({ certificate }) => certificate);
    assert.equal(await greetingByNode(port, ca), `hello TLSv1.3 ${der}`);
    assert.equal(await greetingByDeno(port, ca), "hello");
  }
  await assert.rejects(greetingByNode(port, [other.certificate]));
  await assert.rejects(greetingByDeno(port, [other.certificate]), /UnknownIssuer/);
});

Deno.test("certifyAgain() makes an authority of a key that is left, with which the old certificate was issued", async () => {
  const authority = await makeAuthority();
  const again = await certifyAgain(authority.key);
  assert.equal(again.key, authority.key);
  assert.notEqual(again.certificate, authority.certificate);
  assert.equal(await fits(await issueServerCertificate(again), again.certificate), true);
  await assert.rejects(certifyAgain("rubbish"), (error) => {
    assert.ok(error instanceof Failure);
    assert.ok(!error.message.includes("rubbish"));
    return true;
  });
});

Deno.test("fits() takes a certificate of this authority with its own key, and nothing else", async () => {
  const authority = await makeAuthority(), other = await makeAuthority();
  const issued = await issueServerCertificate(authority), second = await issueServerCertificate(authority);
  assert.equal(await fits(issued, authority.certificate), true);
  assert.equal(await fits(issued, other.certificate), false);
  assert.equal(await fits({ ...issued, key: second.key }, authority.certificate), false);
  assert.equal(await fits({ ...issued, certificate: "x" }, authority.certificate), false);
  assert.equal(await fits({ ...issued, key: "x" }, authority.certificate), false);
});

Deno.test("certificateBytes() refuses what is no certificate in PEM, without repeating it", async () => {
  const { key, certificate } = await makeAuthority();
  for (
    const text of [
      "",
      key,
      certificate.trimEnd(),
      `${certificate}${certificate}`,
      certificate.replace("MI", "M!"),
    ]
  ) {
    assert.throws(
      () => certificateBytes(text, "ca.pem"),
      /^Failure: could not read ca.pem: found no certificate/,
    );
  }
});

Deno.test({
  ...unless(openssl, "openssl takes the certificates as well"),
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("certificates");
    const authority = await makeAuthority();
    const { certificate } = await issueServerCertificate(authority);
    await Deno.writeTextFile(`${folder.path}/ca.pem`, authority.certificate);
    await Deno.writeTextFile(`${folder.path}/tls.pem`, certificate);
    const verify = ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", SERVER_NAME];
    const [ca, leaf] = [`${folder.path}/ca.pem`, `${folder.path}/tls.pem`];
    assert.ok(await succeeds("openssl", [...verify, "-CAfile", ca, leaf]));
    for (const time of ["1", "253402300798"]) {
      assert.ok(await succeeds("openssl", [...verify, "-attime", time, "-CAfile", ca, leaf]), time);
    }
  },
});
