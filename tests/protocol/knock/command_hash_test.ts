import assert from "node:assert/strict";
import fc from "fast-check";
import {
  commandHash,
  CommandHashError,
  formatCommandHash,
  parseCommandHash,
} from "../../../src/protocol/knock/command_hash.ts";
import vectors from "../../vectors/knock-v1.json" with { type: "json" };
import { holds } from "../../property.ts";
import { rurocoCommandHash } from "../../reference/ruroco.ts";
import { u64 } from "./arbitraries.ts";

Deno.test("commandHash() gives the known answers", () => {
  const known = Object.entries(vectors.command_hashes);
  assert(known.length >= 5);
  for (const [name, hash] of known) {
    assert.equal(formatCommandHash(commandHash(name)), hash, JSON.stringify(name));
  }
});

Deno.test("commandHash() agrees with the slow reference for any name", () => {
  holds(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (name) => {
    assert.equal(formatCommandHash(commandHash(name)), rurocoCommandHash(name));
  }));
});

Deno.test("commandHash() takes the name verbatim", () => {
  const names = ["open", "Open", " open", "open ", "open\n", "\ufeffopen", "o\u0308", "\u00f6"];
  assert.equal(new Set(names.map(commandHash)).size, names.length);
});

Deno.test("parseCommandHash() reads back what formatCommandHash() gives, behind a #", () => {
  holds(fc.property(u64(), (hash) => {
    assert.equal(parseCommandHash(`#${formatCommandHash(hash)}`), hash);
  }));
  assert.equal(parseCommandHash("#9B93083959D8550A"), commandHash("open_port"));
});

Deno.test("parseCommandHash() refuses every other text", () => {
  const wrong = ["", "#", "9b93083959d8550a", "#9b93083959d8550", "#9b93083959d8550a0", "#9b93083959d8550g"];
  for (
    const text of [
      ...wrong,
      "# 9b93083959d8550a",
      "#9b93083959d8550a\n",
      "##93083959d8550a",
      "#0x93083959d8550a",
    ]
  ) {
    assert.throws(() => parseCommandHash(text), CommandHashError, text);
  }
});
