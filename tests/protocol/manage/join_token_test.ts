import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatJoinToken,
  type JoinToken,
  MAX_TOKEN_CERTIFICATE_BYTES,
  MAX_TOKEN_CHARACTERS,
  parseJoinToken,
  TOKEN_START,
  tokenHash,
} from "../../../src/protocol/manage/join_token.ts";
import vectors from "../../vectors/manage-token.json" with { type: "json" };
import { holds } from "../../property.ts";
import { hex, serverKey } from "./manage_identities.ts";

const [first] = vectors.tokens;
assert(first !== undefined && vectors.refusals.length > 0, "no vectors were loaded");

const token: JoinToken = {
  kind: "host",
  secret: new Uint8Array(32).fill(1),
  serverKey: serverKey.publicKey,
  addresses: ["manage.example:7022"],
  caCertificate: new Uint8Array(300).fill(2),
};

for (const vector of vectors.tokens) {
  Deno.test(`parseJoinToken() reads the vector of a token for "${vector.kind}" and writes it again`, () => {
    const parsed = parseJoinToken(vector.text);
    assert.deepEqual(parsed, {
      kind: vector.kind,
      secret: hex(vector.secret),
      serverKey: hex(vector.serverKey),
      addresses: vector.addresses,
      caCertificate: hex(vector.caCertificate),
    });
    assert.equal(formatJoinToken(parsed), vector.text);
    assert.deepEqual(parseJoinToken(`\n  ${vector.text} \r\n`), parsed);
    assert.equal(tokenHash(parsed.secret).toHex(), vector.hash);
  });
}

/** Refused, and no run of 6 characters of it is in the message, but for what every token begins with. */
function assertRefused(text: string, why: string): void {
  assert.throws(() => parseJoinToken(text), (error: unknown) => {
    assert(error instanceof TypeError, `${why}: ${error}`);
    const shown = `${error.message} ${Deno.inspect(error.cause)}`.replaceAll(TOKEN_START, "");
    const secret = text.replace(TOKEN_START, "");
    for (let at = 0; at + 6 <= secret.length; at++) {
      assert(!shown.includes(secret.slice(at, at + 6)), `${why}: ${error.message}`);
    }
    return true;
  }, why);
}

for (const { name, text } of vectors.refusals) {
  Deno.test(`parseJoinToken() refuses ${name}`, () => assertRefused(text, name));
}

Deno.test("parseJoinToken() refuses a token with any character changed, taken out, doubled or put in", () => {
  const { text } = first, alphabet = "Az09-_=+/ \n.";
  for (let at = 0; at < text.length; at++) {
    const before = text.slice(0, at), here = text[at] ?? "", after = text.slice(at + 1);
    const other = alphabet[at % alphabet.length] ?? "";
    assertRefused(before + (other === here ? "B" : other) + after, `changed at ${at}`);
    assertRefused(before + after, `taken out at ${at}`);
    assertRefused(before + here + here + after, `doubled at ${at}`);
    assertRefused(`${before}A${here}${after}`, `put in at ${at}`);
    if (at > 0) assertRefused(`${before}\n${here}${after}`, `broken at ${at}`);
    if (at > 0) assertRefused(before, `cut at ${at}`);
  }
  assertRefused(text + "A", "added");
  assertRefused(text + "=", "padded");
  assertRefused(text + text, "twice");
  assertRefused(text.replace("-1.", "-2."), "another version");
  assertRefused(text.toUpperCase(), "capital letters");
  assertRefused("", "empty");
  assertRefused(TOKEN_START + "A".repeat(MAX_TOKEN_CHARACTERS), "too long");
});

Deno.test("formatJoinToken() refuses fields without a form", () => {
  const wrong: readonly Partial<JoinToken>[] = [
    { secret: new Uint8Array(31) },
    { serverKey: new Uint8Array(32) },
    { serverKey: new Uint8Array(33).fill(3) },
    { addresses: [] },
    { addresses: Array.from({ length: 17 }, () => "a:1") },
    { addresses: [`${"a".repeat(255)}:1`] },
    { caCertificate: new Uint8Array(0) },
    { caCertificate: new Uint8Array(MAX_TOKEN_CERTIFICATE_BYTES + 1) },
  ];
  for (const each of wrong) {
    assert.throws(() => formatJoinToken({ ...token, ...each }), TypeError, Object.keys(each).join());
  }
  for (const address of ["a", "a:0", "a:65536", "a b:1", "é:1", ""]) {
    assert.throws(() => formatJoinToken({ ...token, addresses: [address] }), address);
  }
});

Deno.test("formatJoinToken() writes at most what parseJoinToken() reads", () => {
  const largest = {
    ...token,
    addresses: Array.from({ length: 16 }, () => `${"a".repeat(253)}:1`),
    caCertificate: new Uint8Array(MAX_TOKEN_CERTIFICATE_BYTES),
  };
  assert.deepEqual(parseJoinToken(formatJoinToken(largest)), largest);
});

Deno.test("parseJoinToken() gives back what formatJoinToken() was given", () => {
  const bytes = (min: number, max: number): fc.Arbitrary<Uint8Array<ArrayBuffer>> =>
    fc.uint8Array({ minLength: min, maxLength: max }).map((each) => new Uint8Array(each));
  holds(fc.property(
    fc.record({
      kind: fc.constantFrom("host" as const, "administrator" as const),
      secret: bytes(32, 32),
      serverKey: fc.constant(serverKey.publicKey),
      addresses: fc.array(fc.stringMatching(/^[a-z0-9.-]{1,40}:[1-9][0-9]{0,3}$/), {
        minLength: 1,
        maxLength: 16,
      }),
      caCertificate: bytes(1, 600),
    }, { noNullPrototype: true }),
    (made) => assert.deepEqual(parseJoinToken(formatJoinToken(made)), made),
  ));
});
