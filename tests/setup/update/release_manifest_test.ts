import assert from "node:assert/strict";
import fc from "fast-check";
import {
  executableName,
  formatManifest,
  parseExecutableName,
  parseManifest,
  type ReleaseManifest,
} from "../../../src/setup/update/release_manifest.ts";
import { signedBytes } from "../../../src/setup/update/release_signature.ts";
import { Failure } from "../../../src/system/failure.ts";
import { holds } from "../../property.ts";

const GOOD: ReleaseManifest = {
  format: 1,
  product: "postern",
  version: "1.2.3",
  created: "2030-01-01T00:00:00.000Z",
  expires: "2030-04-01T00:00:00.000Z",
  files: [
    {
      role: "server",
      target: "x86_64-unknown-linux-gnu",
      name: "postern-server-x86_64-unknown-linux-gnu",
      size: 5,
      sha256: "0".repeat(64),
    },
    {
      role: "client",
      target: "x86_64-pc-windows-msvc",
      name: "postern-client-x86_64-pc-windows-msvc.exe",
      size: 1,
      sha256: "f".repeat(64),
    },
  ],
};

type Loose = Record<string, unknown>;

function parse(value: unknown): ReleaseManifest {
  return parseManifest(new TextEncoder().encode(JSON.stringify(value)));
}

function withFile(changes: Loose): Loose {
  return { ...GOOD, files: [{ ...GOOD.files[0], ...changes }] };
}

Deno.test("parseManifest() reads what formatManifest() writes", () => {
  assert.deepEqual(parseManifest(formatManifest(GOOD)), GOOD);
});

Deno.test("parseManifest() takes roles and targets of later releases, which nothing here installs", () => {
  const file = {
    role: "relay",
    target: "riscv64gc-unknown-linux-gnu",
    name: "postern-relay-riscv64gc-unknown-linux-gnu",
    size: 1,
    sha256: "a".repeat(64),
  };
  assert.deepEqual(parse({ ...GOOD, files: [file] }).files, [file]);
});

Deno.test("parseManifest() refuses everything else", () => {
  const bad: readonly (readonly [unknown, RegExp])[] = [
    [null, /Object/],
    [[], /format/],
    [{ ...GOOD, format: 2 }, /format/],
    [{ ...GOOD, format: "1" }, /format/],
    [{ ...GOOD, product: "ruroco" }, /product/],
    [{ ...GOOD, version: "1.2" }, /version/],
    [{ ...GOOD, version: "../1.2.3" }, /version/],
    [{ ...GOOD, created: "yesterday" }, /created/],
    [{ ...GOOD, expires: "2030-04-01T00:00:00+02:00" }, /expires/],
    [{ ...GOOD, expires: 5 }, /expires/],
    [{ ...GOOD, files: [] }, /files/],
    [{ ...GOOD, files: {} }, /files/],
    [{ ...GOOD, files: [GOOD.files[0], GOOD.files[0]] }, /two files of one name/],
    [{ ...GOOD, extra: 1 }, /extra/],
    [withFile({ extra: 1 }), /extra/],
    [withFile({ size: 0 }), /size/],
    [withFile({ size: 1.5 }), /size/],
    [withFile({ size: 2 ** 40 }), /size/],
    [withFile({ sha256: "0".repeat(63) }), /sha256/],
    [withFile({ sha256: "F".repeat(64) }), /sha256/],
    [withFile({ role: "client" }), /the name of a file is not that of its role and target/],
    [
      withFile({ target: "aarch64-unknown-linux-gnu" }),
      /the name of a file is not that of its role and target/,
    ],
    [withFile({ name: "postern-server-x86_64-unknown-linux-gnu.exe" }), /the name of a file/],
    [withFile({ role: "../../etc", name: "postern-../../etc-x86_64-unknown-linux-gnu" }), /role/],
    [withFile({ name: "/etc/shadow" }), /the name of a file/],
  ];
  for (const [value, pattern] of bad) {
    assert.throws(() => parse(value), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(error.message, /^the manifest is not one of a release: /);
      assert.match(error.message, pattern);
      return true;
    }, JSON.stringify(value));
  }
  for (const bytes of [new Uint8Array(), Uint8Array.of(0xff), new TextEncoder().encode("\ufeff{}")]) {
    assert.throws(() => parseManifest(bytes), /found no JSON in UTF-8/);
  }
  for (const key of Object.keys(GOOD)) {
    const { [key]: _, ...rest } = GOOD as unknown as Loose;
    assert.throws(() => parse(rest), Failure, key);
  }
});

Deno.test("parseManifest() lets no name pass that is more than the name of a file in its folder", () => {
  const trick = fc.stringMatching(/^[a-z./\\:%~\0 -]{0,12}$/);
  holds(
    fc.property(trick, trick, fc.option(trick), (role, target, name) => {
      const file = { role, target, name: name ?? `postern-${role}-${target}` };
      let names: string[] = [];
      try {
        names = parse(withFile(file)).files.map((each) => each.name);
      } catch (error) {
        assert.ok(error instanceof Failure);
      }
      for (const each of names) assert.match(each, /^postern-[a-z]{1,32}-[a-z0-9_-]+(\.exe)?$/);
    }),
    { numRuns: 500 },
  );
});

Deno.test("parseManifest() throws nothing but Failure, and echoes nothing that drives a terminal", () => {
  holds(fc.property(fc.json(), fc.string({ unit: "binary" }), (json, text) => {
    for (const value of [JSON.parse(json), withFile({ name: text }), { ...GOOD, product: text }]) {
      assert.throws(() => parse(value), (error) => {
        assert.ok(error instanceof Failure);
        assert.doesNotMatch(error.message, /[\p{Cc}\p{Cf}]/u);
        return true;
      });
    }
  }));
});

Deno.test("parseExecutableName() undoes executableName(), and takes nothing else", () => {
  for (const target of ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]) {
    assert.deepEqual(parseExecutableName(executableName("server", target)), { role: "server", target });
  }
  for (
    const name of [
      "postern.js",
      "SHA256SUMS",
      "postern-server",
      "postern-server-x86_64-unknown-linux-gnu.exe",
      "postern-server-x86_64-pc-windows-msvc",
      "postern-a-b",
    ]
  ) {
    assert.equal(parseExecutableName(name), null, name);
  }
});

Deno.test("signedBytes() is the prefix of docs/wire-formats.md and the manifest", () => {
  assert.equal(
    new TextDecoder().decode(signedBytes(new TextEncoder().encode("{}"))),
    "postern release manifest v1\0{}",
  );
});
