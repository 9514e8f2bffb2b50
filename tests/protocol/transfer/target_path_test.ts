import assert from "node:assert/strict";
import { posix, win32 } from "node:path";
import fc from "fast-check";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { foldedName, nameProblem, utf8Bytes } from "../../../src/protocol/transfer/name_rules.ts";
import { isHiddenPath, shownPath, targetPath } from "../../../src/protocol/transfer/target_path.ts";
import { holds } from "../../property.ts";

/** Known tricks, each with what is said about it. */
const TRICKS: readonly (readonly [path: string, found: RegExp])[] = [
  ["", /an empty name/],
  ["/", /absolute/],
  ["/etc/passwd", /absolute/],
  ["//server/share", /absolute/],
  ["a//b", /an empty name/],
  ["a/", /an empty name/],
  [".", /"\." or "\.\."/],
  ["..", /"\." or "\.\."/],
  ["../a", /"\." or "\.\."/],
  ["a/../b", /"\." or "\.\."/],
  ["a/..", /"\." or "\.\."/],
  ["a/./b", /"\." or "\.\."/],
  ["...", /dots and spaces alone/],
  [".. ", /dots and spaces alone/],
  ["a/.. /.. /b", /dots and spaces alone/],
  [". .", /dots and spaces alone/],
  [" ", /dots and spaces alone/],
  ["\u00a0\u3000", /dots and spaces alone/],
  ["\uff0e\uff0e/a", /dots and spaces alone/],
  ["\u2025/a", /dots and spaces alone/],
  ["\u2026", /dots and spaces alone/],
  ["C:", /a colon/],
  ["C:a", /a colon/],
  ["C:/Windows", /a colon/],
  ["C:\\Windows", /a backslash/],
  ["\\\\server\\share", /a backslash/],
  ["\\\\?\\C:\\a", /a backslash/],
  ["..\\a", /a backslash/],
  ["a\\b", /a backslash/],
  ["a\uf05cb", /private character/],
  ["a:stream", /a colon/],
  ["a::$DATA", /a colon/],
  ["a\0b", /a control character/],
  ["a\nb", /a control character/],
  ["a\x1b[2Jb", /a control character/],
  ["a\x7f", /a control character/],
  ["a\x9bb", /a control character/],
  ["a\u202egpj.exe", /an invisible character/],
  ["a\u2066b", /an invisible character/],
  ["a\u061cb", /an invisible character/],
  ["a\u200bb", /an invisible character/],
  ["a\u200db", /an invisible character/],
  ["a\u00adb", /an invisible character/],
  ["a\ufeff", /an invisible character/],
  ["a\u3164", /an invisible character/],
  ["a\u2800", /an invisible character/],
  ["a\ufe0f", /an invisible character/],
  ["a\u{e0041}", /an invisible character/],
  ["a\u{e0100}", /an invisible character/],
  ["a\u2028b", /a line separator/],
  ["a\ufffe", /no character/],
  ["a\ud800b", /half of a surrogate pair/],
  ["\udc00", /half of a surrogate pair/],
  ["CON", /a device of Windows/],
  ["con", /a device of Windows/],
  ["a/nul/b", /a device of Windows/],
  ["nul.txt", /a device of Windows/],
  ["aux.tar.gz", /a device of Windows/],
  ["PRN ", /a device of Windows/],
  ["prn .txt", /a device of Windows/],
  ["con...", /a device of Windows/],
  ["COM1", /a device of Windows/],
  ["com0", /a device of Windows/],
  ["lpt9.log", /a device of Windows/],
  ["COM\u00b9", /a device of Windows/],
  ["lpt\u00b3.txt", /a device of Windows/],
  ["\uff23\uff2f\uff2e", /a device of Windows/],
  ["CONIN$", /a device of Windows/],
  ["conout$", /a device of Windows/],
  [".postern-0123456789abcdef", /begins with "\.postern-"/],
  ["a/.postern-x/pairing", /begins with "\.postern-"/],
  [".POSTERN-x", /begins with "\.postern-"/],
  [".po\u017ftern-x", /begins with "\.postern-"/],
  ["\uff0epostern-x", /begins with "\.postern-"/],
  ["POSTER~1/pairing", /begins with "\.postern-"/],
  ["po1f2e~1", /begins with "\.postern-"/],
  ["a".repeat(256), /more than 255 bytes/],
  [`${"\u00e9".repeat(128)}`, /more than 255 bytes/],
  [Array(101).fill("a").join("/"), /more than 100 names/],
  [Array(20).fill("a".repeat(250)).join("/"), /more than 4096 bytes/],
  ["\u00e9/".repeat(2000) + "a", /more than 4096 bytes/],
];

Deno.test("targetPath() refuses every known trick, and says by what", () => {
  for (const [path, found] of TRICKS) {
    assert.throws(() => targetPath(path), (error: unknown) => {
      assert(error instanceof TransferError);
      assert.equal(error.code, "path");
      assert.match(error.message, found, JSON.stringify(path.slice(0, 50)));
      assert.doesNotMatch(error.message, /[\p{Cc}\p{Cf}\p{Cs}\u2028]/u);
      assert(error.message.length < 1500);
      return true;
    });
  }
});

/** Odd, and harmless. */
const HARMLESS = [
  "a",
  "a b",
  " a",
  "a.",
  "a ",
  "Acme Inc./R.E.M./a",
  "-rf",
  "~",
  "~root",
  "$HOME",
  "%PATH%",
  "a'b\"c`d",
  "*",
  "a?b<c>d|e",
  ".bashrc",
  "..a",
  "...a",
  "a..b",
  "console",
  "com10",
  "comx",
  "conin",
  "nullable.txt",
  "postern-x",
  ".postern",
  "posters~1",
  "PROGRA~1",
  "\u00e9",
  "e\u0301",
  "\u65e5\u672c\u8a9e/\uff1a\uff0f",
  "\u05e9\u05dc\u05d5\u05dd",
  "\u2764\ufe0f.txt",
  "\u{1f468}\u200d\u{1f469}\u200d\u{1f467}.jpg",
  "1\ufe0f\u20e3",
  "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
  "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
  "a".repeat(255),
  Array(100).fill("a").join("/"),
  Array(16).fill("a".repeat(255)).join("/"),
  "x".repeat(200) + "/" + "__proto__",
  "constructor/toString",
];

Deno.test("targetPath() takes names that are only odd, as they are", () => {
  for (const path of HARMLESS) assert.deepEqual(targetPath(path), path.split("/"), path);
});

/** Pieces that tricks are made of, between any characters. */
const pieces = fc.oneof(
  fc.constantFrom(
    ...TRICKS.map(([path]) => path).filter((path) => path.length < 50),
    ...HARMLESS.slice(0, 36),
  ),
  fc.constantFrom("/", "\\", "..", ".", ":", " ", "~1", "C", "\0", "\u202e", "\u00b9", "com", ".postern-"),
  fc.string({ unit: "binary", maxLength: 4 }),
  fc.string({ maxLength: 4 }),
);
const paths = fc.array(pieces, { minLength: 1, maxLength: 6 }).map((all) => all.join(""));

/** What leads to a file strictly below the folder, by the rules of one system; null if it does not. */
function slowReading(path: string, system: typeof posix, folder: string): string[] | null {
  const { normalize, isAbsolute, relative, sep } = system;
  if (isAbsolute(path)) return null;
  const names = relative(folder, normalize(`${folder}${sep}${path}`)).split(sep);
  const isInside = !isAbsolute(names.join(sep)) && names[0] !== ".." && names[0] !== "";
  return isInside ? names : null;
}

Deno.test("targetPath() gives what an independent reading of the path gives, on every system, or nothing", () => {
  let taken = 0;
  holds(
    fc.property(paths, (path) => {
      let names: readonly string[];
      try {
        names = targetPath(path);
      } catch (error) {
        assert(error instanceof TransferError && error.code === "path");
        return;
      }
      taken++;
      assert.deepEqual(slowReading(path, posix, "/target"), names);
      assert.deepEqual(slowReading(path, win32, "C:\\target"), names);
      assert.equal(names.join("/"), path);
      assert.deepEqual(targetPath(names.join("/")), names);
      assert.equal(posix.normalize(path), path);
      const written = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
        new TextEncoder().encode(path),
      );
      assert.equal(written, path);
    }),
    { numRuns: 5000 },
  );
  assert(taken > 100, `only ${taken} paths were taken`);
});

Deno.test("targetPath() takes exactly the paths whose names are all taken alone", () => {
  const names = fc.array(pieces.filter((piece) => !piece.includes("/")), { minLength: 1, maxLength: 5 });
  holds(
    fc.property(names, (all) => {
      const isTaken = all.every((name) => nameProblem(name) === null);
      assert.equal(isRefused(all.join("/")), !isTaken);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("targetPath() refuses whatever some system could take for something else", () => {
  // Each is the trick within a name that is harmless without it.
  const inner = fc.constantFrom(
    "\\",
    ":",
    "\0",
    "\n",
    "\x85",
    "\u200e",
    "\u2060",
    "\ud83d",
    "\ufdd0",
    "/../",
    "//",
  );
  holds(
    fc.property(
      fc.stringMatching(/^[a-z]{1,8}$/),
      inner,
      fc.stringMatching(/^[a-z]{1,8}$/),
      (a, trick, b) => {
        assert(isRefused(`${a}${trick}${b}`));
        assert(!isRefused(`${a}x${b}x`));
      },
    ),
  );
});

function isRefused(path: string): boolean {
  try {
    targetPath(path);
    return false;
  } catch (error) {
    assert(error instanceof TransferError && error.code === "path");
    return true;
  }
}

Deno.test("isHiddenPath() tells a name that begins with a dot, anywhere in the path", () => {
  for (const path of [".a", "a/.b", ".a/b", "a/.b/c", "..a"]) assert(isHiddenPath(path), path);
  for (const path of ["a", "a.b", "a/b.", "a./b"]) assert(!isHiddenPath(path), path);
});

Deno.test("shownPath() shows a path of any kind on one short line", () => {
  assert.equal(shownPath('a/"b\u202e\x1b'), '"a/\\"b\\u202e\\u001b"');
  assert.equal(shownPath("\u{e0041}"), '"\\udb40\\udc41"');
  holds(fc.property(paths, (path) => {
    assert.doesNotMatch(shownPath(path), /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
    if (path.length <= 200) assert.equal(JSON.parse(shownPath(path)), path);
  }));
  assert(shownPath("a".repeat(1e6)).length < 300);
});

Deno.test("foldedName() is the same for names that are one on some file system, and differs otherwise", () => {
  const same = [
    ["README", "readme"],
    ["stra\u00dfe", "STRASSE"],
    ["stra\u1e9ee", "strasse"],
    ["\u00e9", "e\u0301"],
    ["\u212b", "\u00e5"],
    ["\u03a3\u0391\u03a3", "\u03c3\u03b1\u03c2"],
    ["\ufb01le", "file"],
    ["\uff21", "a"],
    ["x\u00b2", "x2"],
    ["\u0130", "i\u0307"],
    ["\u212a", "k"],
    ["\u01c4", "\u01c6"],
    ["\u2764\ufe0f", "\u2764"],
    ["a.", "a"],
    ["a . ", "A"],
    ["\uac00", "\u1100\u1161"],
    ["\u1f80", "\u1f08\u0399"],
    ["\u13a0", "\uab70"],
  ] as const;
  for (const [a, b] of same) assert.equal(foldedName(a), foldedName(b), `${a} ${b}`);
  const different = [["a", "b"], ["\u0131", "i"], ["e", "\u00e9"], ["a b", "ab"], [".a", "a"], [
    "o",
    "\u00f8",
  ]] as const;
  for (const [a, b] of different) assert.notEqual(foldedName(a), foldedName(b), `${a} ${b}`);
});

Deno.test("foldedName() of what a file system may make of a name is that of the name", () => {
  const names = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 });
  holds(
    fc.property(names, (name) => {
      const folded = foldedName(name);
      for (const form of ["NFC", "NFD", "NFKC", "NFKD"] as const) {
        assert.equal(foldedName(name.normalize(form)), folded);
      }
      assert.equal(foldedName(`${name}. `), folded);
      assert.equal(foldedName(folded), folded);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("utf8Bytes() counts what a path takes on the wire", () => {
  assert.equal(utf8Bytes("aä€😀"), 1 + 2 + 3 + 4);
});
