import assert from "node:assert/strict";
import { inWordsOf } from "../../src/cli/program_words.ts";
import { COMMANDS } from "../../src/cli/table.ts";

const TOLD: readonly [text: string, told: string][] = [
  ["run postern client reseed", "run postern-client reseed"],
  ["`postern server` means `postern server knock`", "`postern-server` means `postern-server knock`"],
  ["postern server --check lists", "postern-server --check lists"],
  ["postern client setup makes it", "postern-setup setup makes it"],
  ["postern server doctor, as root", "postern-setup server doctor, as root"],
  ["postern client COMMAND --help", "postern-client COMMAND --help"],
  ["postern permissions --flags", "postern-commander permissions --flags"],
  ["options come after: postern --help", "options come after: postern-commander --help"],
  ['{"hint":"first\\npostern client reseed"}', '{"hint":"first\\npostern-client reseed"}'],
  // No commands.
  ["the user postern, /etc/postern client-side", "the user postern, /etc/postern client-side"],
  ["/opt/postern server", "/opt/postern server"],
  ["postern-client send", "postern-client send"],
  ["postern clients", "postern clients"],
];

Deno.test("inWordsOf() tells a command as its executable is called, and touches nothing else", () => {
  for (const [text, told] of TOLD) {
    assert.equal(inWordsOf("commander", text), told);
    assert.equal(inWordsOf("commander", told), told, "told again it stays as it is");
  }
});

Deno.test("inWordsOf() leaves no command of a role in the words of the whole program", () => {
  for (const { path } of COMMANDS) {
    assert.doesNotMatch(inWordsOf("client", `see postern ${path.join(" ")}: it helps`), /postern /);
  }
});
