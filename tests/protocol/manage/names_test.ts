import assert from "node:assert/strict";
import { isName } from "../../../src/protocol/manage/names.ts";

Deno.test("isName() takes what stands in tables, paths and policies, and nothing else", () => {
  for (const name of ["a", "0", "web1", "db-2.example_x", "b".repeat(64)]) assert(isName(name), name);
  const refused = [
    "",
    "A",
    "-a",
    ".a",
    "..",
    "_a",
    "a/b",
    "a b",
    "a\n",
    "é",
    "a\u0000",
    "b".repeat(65),
    "a:b",
  ];
  for (const name of refused) assert.equal(isName(name), false, JSON.stringify(name));
});
