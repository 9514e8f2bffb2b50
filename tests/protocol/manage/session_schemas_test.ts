import assert from "node:assert/strict";
import fc from "fast-check";
import { MAX_ITEM_BYTES } from "../../../src/protocol/manage/session_contract.ts";
import * as schemas from "../../../src/protocol/manage/session_schemas.ts";
import { MAX_COMMAND_BYTES } from "../../../src/protocol/manage/session_schemas.ts";
import { isVisibleText } from "../../../src/protocol/manage/shown_text.ts";
import { holds } from "../../property.ts";
import { anyText, assertRefuses, assertStrict, assertTakes, takes } from "./schema_checks.ts";

const start = { rows: 24, columns: 80, term: "xterm-256color", seenBytes: 5 };
const item = new Uint8Array(MAX_ITEM_BYTES), tooLong = new Uint8Array(MAX_ITEM_BYTES + 1);

Deno.test("checkShellStart takes a window and a terminal and nothing else", () => {
  assertStrict(schemas.checkShellStart, start, ["it.seenBytes = WRONG[3]"]);
  assertTakes(schemas.checkShellStart, { ...start, rows: 1, columns: 65_535 });
  for (const rows of [0, 65_536, 1.5]) assertRefuses(schemas.checkShellStart, { ...start, rows }, `${rows}`);
  for (const term of ["", "x y", "xterm\n", "../x", "x".repeat(65), "$(id)", "é"]) {
    assertRefuses(schemas.checkShellStart, { ...start, term }, term);
  }
});

Deno.test("checkShellInput takes what was typed, or a size, and not both or nothing", () => {
  assertStrict(schemas.checkShellInput, { rows: 1, columns: 2 });
  assertTakes(schemas.checkShellInput, Uint8Array.of(3));
  assertTakes(schemas.checkShellInput, item);
  assertRefuses(schemas.checkShellInput, tooLong, "too long");
  assertRefuses(schemas.checkShellInput, new Uint8Array(0), "empty");
  assertRefuses(schemas.checkShellInput, "text", "text");
});

Deno.test("checkShellOutput takes each fact alone", () => {
  assertTakes(schemas.checkShellOutput, item);
  assertRefuses(schemas.checkShellOutput, tooLong, "too long");
  assertRefuses(schemas.checkShellOutput, new Uint8Array(0), "empty");
  assertStrict(schemas.checkShellOutput, { skippedBytes: 5 });
  assertStrict(schemas.checkShellOutput, { exitCode: 255 }, ["it.exitCode = WRONG[3]"]);
  assertStrict(schemas.checkShellOutput, { ended: "replaced", text: "taken up elsewhere" }, [
    "it.text = WRONG[10]",
  ]);
  assertRefuses(schemas.checkShellOutput, { exitCode: 1, skippedBytes: 1 }, "two facts");
  assertRefuses(schemas.checkShellOutput, { exitCode: 256 }, "exit code");
  assertRefuses(schemas.checkShellOutput, { ended: "done", text: "" }, "another ending");
});

Deno.test("checkExecOutput takes each fact alone; bytes may be none", () => {
  assertStrict(schemas.checkExecOutput, { stdout: item }, ["it.stdout = WRONG[17]"]);
  assertStrict(schemas.checkExecOutput, { stderr: Uint8Array.of(1) }, ["it.stderr = WRONG[17]"]);
  assertStrict(schemas.checkExecOutput, { exitCode: 0 }, ["it.exitCode = WRONG[3]"]);
  assertStrict(schemas.checkExecOutput, { ended: "revoked", text: "revoked" }, ["it.text = WRONG[10]"]);
  assertRefuses(schemas.checkExecOutput, { stdout: item, stderr: item }, "both");
  assertRefuses(schemas.checkExecOutput, { stdout: tooLong }, "too long");
  assertRefuses(schemas.checkExecOutput, { ended: "replaced", text: "" }, "only of shells");
});

Deno.test("texts that are shown have nothing invisible and an end", () => {
  const ended = (text: string): unknown => ({ ended: "revoked", text });
  assertTakes(schemas.checkExecOutput, ended("x".repeat(300)));
  assertRefuses(schemas.checkExecOutput, ended("x".repeat(301)), "long");
  holds(fc.property(anyText(20), (text) => {
    assert.equal(takes(schemas.checkShellOutput, ended(text)), isVisibleText(text));
  }));
});

Deno.test("checkExecStart takes a program and its arguments, 128 KiB together, without NUL", () => {
  assertStrict(schemas.checkExecStart, { command: ["ls", "-l", ""] }, [
    "it.command.0 = WRONG[11]",
    "it.command.0 = WRONG[12]",
    "it.command.0 = WRONG[13]",
    "it.command.1 = WRONG[10]",
    "it.command.1 = WRONG[11]",
    "it.command.1 = WRONG[12]",
    "it.command.1 = WRONG[13]",
    "it.command.2 = WRONG[10]",
    "it.command.2 = WRONG[11]",
    "it.command.2 = WRONG[12]",
    "it.command.2 = WRONG[13]",
  ]);
  const start = (...command: string[]): unknown => ({ command });
  assertTakes(schemas.checkExecStart, start("x".repeat(MAX_COMMAND_BYTES - 1)));
  assertTakes(schemas.checkExecStart, start("x", "y".repeat(MAX_COMMAND_BYTES - 3)));
  assertTakes(schemas.checkExecStart, start("é".repeat(MAX_COMMAND_BYTES / 2 - 1)));
  assertRefuses(schemas.checkExecStart, start("x".repeat(MAX_COMMAND_BYTES)), "too long");
  assertRefuses(schemas.checkExecStart, start("x", "y".repeat(MAX_COMMAND_BYTES - 2)), "too long together");
  assertRefuses(schemas.checkExecStart, start("é".repeat(MAX_COMMAND_BYTES / 2)), "too long in UTF-8");
  assertRefuses(schemas.checkExecStart, start(...Array.from({ length: 20_000 }, () => "x")), "too many");
  assertRefuses(schemas.checkExecStart, start(""), "no program");
  assertRefuses(schemas.checkExecStart, start(), "nothing");
  assertRefuses(schemas.checkExecStart, start("sh", "a\0b"), "NUL");
  assertRefuses(schemas.checkExecStart, start("sh", "\ud800"), "half a character");
});

Deno.test("checkConnectStart takes names and addresses and nothing a resolver or a log could misread", () => {
  assertStrict(schemas.checkConnectStart, { host: "db.internal", port: 5432 });
  for (
    const host of ["localhost", "127.0.0.1", "::1", "::", "fe80::1%eth0", "_srv.example.", "a".repeat(253)]
  ) {
    assertTakes(schemas.checkConnectStart, { host, port: 65_535 }, host);
  }
  for (const host of ["", "a b", "a\n", "a/b", "a@b", "[::1]", "é", "-a", ".a", "a".repeat(254), "a\0"]) {
    assertRefuses(schemas.checkConnectStart, { host, port: 1 }, host);
  }
  for (const port of [0, 65_536, -1, 1.5]) {
    assertRefuses(schemas.checkConnectStart, { host: "a", port }, `${port}`);
  }
});

Deno.test("checkForwarded takes bytes, none included, up to one item", () => {
  assertStrict(schemas.checkForwarded, item, ["it = WRONG[17]"]);
  assertTakes(schemas.checkForwarded, new Uint8Array(0));
  assertRefuses(schemas.checkForwarded, tooLong, "too long");
});
