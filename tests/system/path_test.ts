import assert from "node:assert/strict";
import { posix } from "node:path";
import fc from "fast-check";
import { absolutePath, folderOf, isWithin, joinPath, nameOf } from "../../src/system/path.ts";
import { holds } from "../property.ts";

const anyPath = fc.array(fc.constantFrom("/", "//", ".", "..", "...", "a", "b c", ".x", "ä"), {
  maxLength: 12,
})
  .map((parts) => parts.join(""));

/** `node:path` keeps a slash at the end that the caller wrote; we never do. */
function withoutEndSlash(path: string): string {
  return path === "/" ? path : path.replace(/\/+$/, "");
}

Deno.test("absolutePath() is node:path's resolve()", () => {
  holds(fc.property(anyPath, (path) => assert.equal(absolutePath(path), posix.resolve(path))));
  assert.equal(absolutePath("/etc//postern/./x/../"), "/etc/postern");
  assert.equal(absolutePath("/../.."), "/");
  assert.equal(absolutePath("etc"), `${Deno.cwd()}/etc`);
});

Deno.test("joinPath() is node:path's join() without a slash at the end", () => {
  holds(fc.property(fc.array(anyPath, { maxLength: 4 }), (parts) => {
    assert.equal(joinPath(...parts), withoutEndSlash(posix.join(...parts)));
  }));
  assert.equal(joinPath("/etc/postern/", "../x", "user.key"), "/etc/x/user.key");
  assert.equal(joinPath("..", "a"), "../a");
  assert.equal(joinPath(), ".");
});

Deno.test("folderOf() and nameOf() are node:path's dirname() and basename()", () => {
  holds(fc.property(anyPath, (path) => {
    assert.equal(joinPath(folderOf(path)), withoutEndSlash(posix.normalize(posix.dirname(path))));
    assert.equal(nameOf(path), posix.basename(path));
  }));
  assert.deepEqual(["/a/b", "/a", "/", "a", "a/b/", "a//b"].map(folderOf), ["/a", "/", "/", ".", "a", "a"]);
});

Deno.test("isWithin() takes a folder itself and what lies below it, and no neighbour of a longer name", () => {
  assert.deepEqual(
    ["/etc/postern", "/etc/postern/x", "/etc/postern-x", "/etc", "/"].map((path) =>
      isWithin(path, "/etc/postern")
    ),
    [true, true, false, false, false],
  );
  assert.equal(isWithin("/x", "/"), true);
});

Deno.test("folderOf() gives the folder of absolute, relative and bare paths", () => {
  assert.equal(folderOf("/a/b"), "/a");
  assert.equal(folderOf("/a"), "/");
  assert.equal(folderOf("a/b/c"), "a/b");
  assert.equal(folderOf("a"), ".");
});
