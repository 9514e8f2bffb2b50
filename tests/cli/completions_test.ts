/** The completion scripts in real shells. */
import assert from "node:assert/strict";
import { wordsOf } from "../../src/cli/command_words.ts";
import { type CompletionTree, completionTree } from "../../src/cli/completion_tree.ts";
import { completionScript, completionScripts, type Shell } from "../../src/cli/completions.ts";
import { bashCompletions } from "../../src/cli/completions_bash.ts";
import { fishCompletions } from "../../src/cli/completions_fish.ts";
import { zshCompletions } from "../../src/cli/completions_zsh.ts";
import { COMMANDS, HELP_OPTION, ROLES } from "../../src/cli/table.ts";
import { completeIn, hasShell } from "./completing_shells.ts";

const SHELLS: readonly Shell[] = ["bash", "zsh", "fish"];
const COMMON = ["completions", "help", "man", "permissions"];

const CASES: readonly [line: string, words: readonly string[]][] = [
  ["postern ", ["client", "commander", "server", ...COMMON]],
  ["postern cl", ["client"]],
  ["postern client s", ["send", "setup", "share", "shell"]],
  ["postern server ", ["doctor", "knock", "manage", "relay"]],
  ["postern server manage ", ["audit", "init", "invite", "list", "revoke", "rotate-ca"]],
  ["postern server manage --b", ["--bind"]],
  ["postern server manage invite ", ["admin", "host"]],
  ["postern-server manage i", ["init", "invite"]],
  ["postern help server manage r", ["revoke", "rotate-ca"]],
  ["postern-commander agent t", ["trust"]],
  // What is run on a host is no command line of ours.
  ["postern client exec web1 -- se", []],
  [
    "postern-client ",
    [
      ...[
        "connect",
        "exec",
        "forward",
        "gen",
        "hosts",
        "identity",
        "join",
        "receive",
        "replay",
        "reseed",
        "send",
      ],
      ...["share", "shell", ...COMMON],
    ],
  ],
  ["postern-server ", ["knock", "manage", "relay", ...COMMON]],
  ["postern-commander ", ["agent", "knock", ...COMMON]],
  ["postern-setup ", ["commander", "doctor", "server", "setup", "update", ...COMMON]],
  ["postern-setup server ", ["doctor"]],
  ["postern-client doc", []],
  ["postern help client r", ["receive", "replay", "reseed"]],
  ["postern-setup help ser", ["server"]],
  ["postern completions ", ["bash", "fish", "zsh"]],
  ["postern completions bash ", ["--help"]],
  ["postern man postern-client-s", ["postern-client-send", "postern-client-share", "postern-client-shell"]],
  ["postern permissions s", ["server", "setup"]],
  ["postern permissions -c my.key s", ["server", "setup"]],
  // The server without its second word.
  ["postern server --log ", ["json", "text"]],
  ["postern-server --log=j", ["--log=json"]],
  ["postern-server knock --c", ["--check", "--config"]],
  ["postern-server --c", ["--check", "--config"]],
  ["postern-server --v", ["--version"]],
  // What was given is not offered again, by whichever of its names.
  ["postern client send -4 --i", ["--ip", "--ipv6"]],
  ["postern client send -4e --p", []],
  ["postern client send --json --js", []],
  ["postern client send -a host.example:34020 --k", ["--key", "--key-file"]],
  ["postern client send --address=host.example --a", []],
  // Values: nothing can be known, files, folders.
  ["postern client send -a ", []],
  ["postern client send -K my", ["my.key"]],
  ["postern client send --key-file my", ["my.key"]],
  ["postern client setup --root ke", ["keys"]],
  ["postern client update --from ke", []],
  // Another command line.
  ["postern permissions --flags -- client s", ["send", "setup", "share", "shell"]],
  ["postern-client permissions --flags -- se", ["send"]],
  // Any number of paths, and options between them.
  ["postern client share my", ["my.key"]],
  ["postern client share my.key --fresh ke", ["kept", "keys"]],
  ["postern-client share my.key kept keys --receivers 2 m", ["my.key"]],
  ["postern client receive ", []],
  ["postern client receive -o ke", ["keys"]],
];

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-completions-" });
  try {
    await Deno.writeTextFile(`${folder}/my.key`, "");
    await Deno.writeTextFile(`${folder}/kept`, "");
    await Deno.mkdir(`${folder}/keys`);
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const shell of SHELLS) {
  const isMissing = !hasShell(shell);
  const where = isMissing ? `${shell} (ignored: it is not on this machine)` : shell;

  Deno.test({
    name: `the completions work in a real ${where}`,
    ignore: isMissing,
    timeout: 60_000,
    fn: () =>
      inFolder(async (folder) => {
        const script = completionScript(shell, [null, ...ROLES]);
        const found = await completeIn(shell, script, folder, CASES.map(([line]) => line));
        const sorted = CASES.map(([line], i) => [line, found[i]]);
        assert.deepEqual(sorted, CASES.map(([line, words]) => [line, words.toSorted()]));
      }),
  });

  Deno.test({
    name: `every option of every command is offered in a real ${where}`,
    ignore: isMissing,
    timeout: 60_000,
    fn: () =>
      inFolder(async (folder) => {
        const script = completionScript(shell, [null]);
        const lines = COMMANDS.map((command) => `postern ${wordsOf(command, null).join(" ")} --`);
        const found = await completeIn(shell, script, folder, lines);
        const names = COMMANDS.map(({ options }) => [...options, HELP_OPTION].map(({ name }) => `--${name}`));
        assert.deepEqual(found, names.map((each) => each.toSorted()));
      }),
  });

  Deno.test({
    name: `nothing in a help text is run or breaks out of its quotes in a real ${where}`,
    ignore: isMissing,
    timeout: 60_000,
    fn: () =>
      inFolder(async (folder) => {
        const lines = ["postern ", "postern evil ", "postern evil --o", "postern evil --other "];
        const found = await completeIn(shell, render(shell, hostileTree()), folder, lines);
        assert.deepEqual(found, [
          ["evil", "good"],
          ["--option", "--other"],
          ["--option", "--other"],
          ["one", "two"],
        ]);
        const made = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
          name.startsWith("hit")
        );
        assert.deepEqual(made, []);
      }),
  });
}

const HOSTILE =
  "it's [a: `touch hit1` $(touch hit2) \\' \" ${HOME} ; touch hit3 ]' : %n %F{red} \\\\' touch hit4 '' \n touch hit5";

/** A tree with texts that would be run by a script that does not quote them. */
function hostileTree(): CompletionTree {
  return {
    program: "postern",
    summary: HOSTILE,
    nodes: [
      {
        key: "postern",
        set: "group",
        next: [{ word: "evil", summary: HOSTILE }, { word: "good", summary: "" }],
      },
      { key: "postern evil", set: "evil", next: [] },
    ],
    sets: [
      { name: "group", options: [], operands: [], takesCommandLine: false },
      {
        name: "evil",
        options: [
          { names: ["-o", "--option"], valueName: HOSTILE, value: { kind: "any" }, summary: HOSTILE },
          {
            names: ["--other"],
            valueName: HOSTILE,
            value: { kind: "words", words: ["one", "two"] },
            summary: HOSTILE,
          },
        ],
        operands: [],
        takesCommandLine: false,
      },
    ],
  };
}

function render(shell: Shell, tree: CompletionTree): string {
  switch (shell) {
    case "bash":
      return bashCompletions(tree);
    case "zsh":
      return zshCompletions([tree]);
    case "fish":
      return fishCompletions(tree);
  }
}

Deno.test({
  name: `the script for zsh can be sourced as well${
    hasShell("zsh") ? "" : " (ignored: zsh is not on this machine)"
  }`,
  ignore: !hasShell("zsh"),
  fn: () =>
    inFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/sourced`, completionScript("zsh", ["client"]));
      const { stdout } = await new Deno.Command("zsh", {
        args: ["-fc", "autoload -Uz compinit; compinit -D -u; . ./sourced; print $_comps[postern-client]"],
        cwd: folder,
        env: { HOME: folder },
      }).output();
      assert.equal(new TextDecoder().decode(stdout), "_postern\n");
    }),
});

Deno.test("completionScripts() has a file for each program where its shell looks for it", () => {
  const programs = ["postern", ...ROLES.map((role) => `postern-${role}`)];
  assert.deepEqual(
    [...completionScripts().keys()].toSorted(),
    [
      ...programs.map((program) => `bash-completion/completions/${program}`),
      ...programs.map((program) => `fish/vendor_completions.d/${program}.fish`),
      "zsh/site-functions/_postern",
    ].toSorted(),
  );
  const zsh = completionScripts().get("zsh/site-functions/_postern") ?? "";
  assert(zsh.startsWith(`#compdef ${programs.join(" ")}\n`));
});

Deno.test("completionTree() has words that need no quoting anywhere", () => {
  for (const role of [null, ...ROLES]) {
    const { nodes, sets } = completionTree(role);
    const values = sets.flatMap(({ options, operands }) =>
      [...options, ...operands].map(({ value }) => value)
    );
    const words = [
      ...nodes.flatMap(({ key, next }) => [...key.split(" "), ...next.map(({ word }) => word)]),
      ...sets.flatMap(({ name, options }) => [...name.split(" "), ...options.flatMap(({ names }) => names)]),
      ...values.flatMap((value) => value.kind === "words" ? value.words : []),
    ];
    for (const word of words) assert.match(word, /^[a-zA-Z0-9-]+$/);
  }
});
