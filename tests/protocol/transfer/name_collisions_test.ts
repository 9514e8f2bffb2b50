import assert from "node:assert/strict";
import fc from "fast-check";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { NameCollisions } from "../../../src/protocol/transfer/name_collisions.ts";
import { foldedName } from "../../../src/protocol/transfer/name_rules.ts";
import { targetPath } from "../../../src/protocol/transfer/target_path.ts";
import { holds } from "../../property.ts";

/** A path that ends in "/" is a folder. */
function collides(paths: readonly string[]): string | null {
  const names = new NameCollisions();
  try {
    for (const path of paths) {
      const isFolder = path.endsWith("/");
      names.add(targetPath(isFolder ? path.slice(0, -1) : path), isFolder ? "folder" : "file");
    }
    return null;
  } catch (error) {
    assert(error instanceof TransferError && error.code === "collision");
    return error.message;
  }
}

Deno.test("NameCollisions refuses names that are one on some file system, with both of them", () => {
  const pairs: readonly (readonly [string[], RegExp])[] = [
    [["a", "a"], /"a" to be two entries/],
    [["a/", "a/"], /"a" to be two entries/],
    [["a", "A"], /"A" to be the same name as "a"/],
    [["A/x", "a/y"], /"a" to be the same name as "A"/],
    [["a/", "A/x"], /"A" to be the same name as "a"/],
    [["x/y/\u00e9", "x/y/e\u0301"], /"x\/y\/e\u0301" to be the same name as "x\/y\/\u00e9"/],
    [["stra\u00dfe", "STRASSE"], /the same name/],
    [["x2", "x\u00b2"], /the same name/],
    [["a", "a."], /the same name/],
    [["a", "a/b"], /"a" to be a file and a folder/],
    [["a/b", "a"], /"a" to be a file and a folder/],
    [["a/", "a"], /"a" to be a file and a folder/],
    [["a", "a/"], /"a" to be a file and a folder/],
    [["a/b", "A"], /"A" to be the same name as "a"/],
  ];
  for (const [paths, found] of pairs) assert.match(String(collides(paths)), found, paths.join(" "));
});

Deno.test("NameCollisions takes names that differ everywhere, and folders before and after what is in them", () => {
  assert.equal(collides(["a/", "a/b", "a/c/", "a/c/d", "e/f", "e/", "e/g", "ab", "i", "\u0131"]), null);
  assert.equal(collides(["__proto__", "constructor/", "constructor/__proto__"]), null);
});

Deno.test("NameCollisions agrees with a slow look at all pairs", () => {
  const name = fc.constantFrom("a", "A", "b", "\u00e9", "e\u0301", "a.", "c");
  const path = fc.tuple(fc.array(name, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([names, isFolder]) => names.join("/") + (isFolder ? "/" : ""));
  holds(
    fc.property(fc.array(path, { maxLength: 6 }), (paths) => {
      assert.equal(
        collides(paths) !== null,
        paths.some((a, at) => paths.slice(0, at).some((b) => clash(a, b))),
      );
    }),
    { numRuns: 3000 },
  );
});

function clash(a: string, b: string): boolean {
  const [aNames, bNames] = [a, b].map((path) => path.replace(/\/$/, "").split("/")) as [string[], string[]];
  const shared = Math.min(aNames.length, bNames.length);
  for (let at = 0; at < shared; at++) {
    const [x = "", y = ""] = [aNames[at], bNames[at]];
    if (foldedName(x) !== foldedName(y)) return false;
    if (x !== y) return true;
  }
  if (aNames.length === bNames.length) return true;
  const shorter = aNames.length < bNames.length ? a : b;
  return !shorter.endsWith("/");
}

Deno.test("NameCollisions ends a list of paths that would fill the memory with folders", () => {
  const names = new NameCollisions();
  const deep = Array(99).fill("a");
  assert.throws(() => {
    for (let i = 0;; i++) names.add([`${i}`, ...deep], "file");
  }, (error: unknown) => error instanceof TransferError && error.code === "limit");
});
