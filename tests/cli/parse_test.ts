import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import fc from "fast-check";
import { parse, plainTokens, type Request } from "../../src/cli/parse.ts";
import { strictWords } from "../../src/cli/parse_strict.ts";
import {
  COMMANDS,
  type CommandSpec,
  findCommand,
  HELP_OPTION,
  type OptionSpec,
} from "../../src/cli/table.ts";
import { UsageFailure } from "../../src/system/failure.ts";

const SEED = Deno.env.get("POSTERN_SEED");
const PARAMETERS: fc.Parameters<unknown> = {
  numRuns: 5000,
  ...(SEED === undefined ? {} : { seed: Number(SEED) }),
};

function command(group: string, word: string): CommandSpec {
  const found = findCommand(group, word);
  assert(found !== undefined);
  return found;
}

function optionsOf(spec: CommandSpec): readonly OptionSpec[] {
  return [...spec.options, HELP_OPTION];
}

/** Words as users type and mistype them: names, short names, groups, values that look like options, nothing. */
function anyWord(spec: CommandSpec): fc.Arbitrary<string> {
  const names = optionsOf(spec);
  const name = fc.constantFrom(...names.map((option) => option.name));
  const short = fc.constantFrom(...names.map((option) => option.short ?? "x"));
  const value = fc.constantFrom("host:80", "-", "--", "-5", "", "a=b", "x y", "ä", "10s");
  return fc.oneof(
    { weight: 6, arbitrary: name.map((each) => `--${each}`) },
    { weight: 6, arbitrary: short.map((each) => `-${each}`) },
    { weight: 6, arbitrary: value },
    fc.tuple(name, value).map(([each, text]) => `--${each}=${text}`),
    fc.tuple(short, value).map(([each, text]) => `-${each}${text}`),
    fc.tuple(short, short).map(([one, two]) => `-${one}${two}`),
    name.map((each) => `--no-${each}`),
    fc.string({ maxLength: 6 }),
  );
}

/** Command lines, most of them a run of options with their values, some of them anything. */
const anyCall = fc.constantFrom(...COMMANDS).chain((spec) => {
  const whole = fc.constantFrom(...optionsOf(spec)).map((option) => [
    option.short === undefined ? `--${option.name}` : `-${option.short}`,
    ...(option.type === "flag" ? [] : ["value"]),
  ]);
  const parts = fc.array(fc.oneof(whole, anyWord(spec).map((word) => [word])), { maxLength: 6 });
  return parts.map((words) => ({ spec, args: words.flat() }));
});

async function strictVerdict(spec: CommandSpec, args: string[]): Promise<unknown> {
  try {
    return (await strictWords(spec, optionsOf(spec), args)).tokens;
  } catch (error) {
    if (error instanceof UsageFailure) return "refused";
    throw error;
  }
}

Deno.test("plainTokens() gives what the strict tokenizer gives wherever it gives anything", async () => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(anyCall, async ({ spec, args }) => {
      const plain = plainTokens(optionsOf(spec), args);
      if (plain === null) return;
      accepted++;
      assert.deepEqual(plain, await strictVerdict(spec, args));
    }),
    PARAMETERS,
  );
  assert(accepted > 500, `only ${accepted} calls were accepted, so hardly anything was compared`);
});

Deno.test("strictWords() refuses what parseArgs refuses, and besides it only repeats and empty values", async () => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(anyCall, async ({ spec, args }) => {
      const verdict = await strictVerdict(spec, args);
      let isStrictlyValid = true;
      try {
        parseArgs({
          args,
          options: Object.fromEntries(
            optionsOf(spec).map((option) => [option.name, {
              type: option.type === "flag" ? "boolean" as const : "string" as const,
              ...(option.short === undefined ? {} : { short: option.short }),
            }]),
          ),
          strict: true,
          allowPositionals: spec.operands !== undefined,
        });
      } catch {
        isStrictlyValid = false;
      }
      if (verdict !== "refused") {
        accepted++;
        assert(isStrictlyValid, `accepted what parseArgs refuses: ${JSON.stringify(args)}`);
      } else if (isStrictlyValid) {
        const names = parseArgs({ args, options: parseArgsOptions(spec), strict: false, tokens: true }).tokens
          .filter((token) => token.kind === "option");
        const isRepeated = new Set(names.map((token) => token.name)).size < names.length;
        const hasEmpty = names.some((token) => token.value === "");
        assert(isRepeated || hasEmpty, `refused without reason: ${JSON.stringify(args)}`);
      }
    }),
    PARAMETERS,
  );
  assert(accepted > 500, `only ${accepted} calls were accepted, so hardly anything was compared`);
});

function parseArgsOptions(spec: CommandSpec): Record<string, { type: "boolean" | "string"; short?: string }> {
  return Object.fromEntries(
    optionsOf(spec).map((option) => [option.name, {
      type: option.type === "flag" ? "boolean" as const : "string" as const,
      ...(option.short === undefined ? {} : { short: option.short }),
    }]),
  );
}

Deno.test("plainTokens() accepts the calls that have to be fast", () => {
  const send = optionsOf(command("client", "send"));
  for (
    const line of [
      "-a host:80 -k KEY -c open_port",
      "--address 1.2.3.4 --key-file user.key --json -e -4",
      "-a [::1]:80 -k - -d 0 --dry-run",
    ]
  ) assert.notEqual(plainTokens(send, line.split(" ")), null, line);
});

async function values(line: string): Promise<Request & { kind: "command" }> {
  const request = await parse(line.split(" "));
  assert(request.kind === "command");
  return request;
}

Deno.test("parse() fills in defaults and converts numbers", async () => {
  const send = (await values("client send -a h -k K")).values;
  assert.equal(send.requiredText("command"), "default");
  assert.equal(send.number("send-delay-ms"), 50);
  assert.equal(send.text("ip"), undefined);
  assert.equal(send.flag("json"), false);
  assert.equal((await values("client connect -a h -k K --to h:22 --wait 2m")).values.number("wait"), 120_000);
  assert.equal((await values("client connect -a h -k K --to h:22")).values.number("wait"), 10_000);
});

Deno.test("parse() takes server and commander without a second word as knock", async () => {
  for (const group of ["server", "commander"]) {
    assert.deepEqual((await values(`${group} -c f`)).command.path, [group, "knock"]);
    assert.deepEqual((await values(`${group} knock -c f`)).command.path, [group, "knock"]);
  }
});

const HELP_LINES: readonly [line: string, path: string[]][] = [
  ["--help", []],
  ["-h", []],
  ["help", []],
  ["client --help", ["client"]],
  ["help client", ["client"]],
  ["server --help", ["server"]],
  ["server help", ["server"]],
  ["help server", ["server"]],
  ["server knock --help", ["server", "knock"]],
  ["server -c f --help", ["server", "knock"]],
  ["client help", ["client"]],
  ["client help send", ["client", "send"]],
  ["help permissions", ["permissions"]],
  ["permissions --help", ["permissions"]],
  ["permissions server --help", ["permissions"]],
  ["completions --help", ["completions"]],
  ["help client send", ["client", "send"]],
  ["client send --help", ["client", "send"]],
  ["client send -a h -h", ["client", "send"]],
  ["client send -4h", ["client", "send"]],
  ["commander --log json --help", ["commander", "knock"]],
];
for (const [line, path] of HELP_LINES) {
  Deno.test(`parse() reads "${line}" as a wish for help`, async () => {
    assert.deepEqual(await parse(line.split(" ")), { kind: "help", path });
  });
}

Deno.test("parse() reads version in each of its forms", async () => {
  for (const word of ["--version", "-V", "version"]) {
    assert.deepEqual(await parse([word]), { kind: "version" });
    await assert.rejects(parse([word, "now"]), UsageFailure);
  }
});

Deno.test("parse() gives operands in their order, wherever the options are", async () => {
  for (
    const line of [
      "permissions server doctor -c f",
      "permissions -c f server doctor",
      "permissions server -c f doctor",
    ]
  ) {
    const request = await values(line);
    assert.deepEqual(request.command.path, ["permissions"]);
    assert.deepEqual(request.values.operands, ["server", "doctor"]);
    assert.equal(request.values.text("config"), "f");
    assert.equal(request.values.rest, undefined);
  }
  assert.deepEqual((await values("permissions")).values.operands, []);
  assert.deepEqual((await values("client send -a h -k K")).values.operands, []);
});

Deno.test("parse() hands over what follows -- as it is, and takes it for nothing of its own", async () => {
  const words = ["client", "send", "-a", "h", "--help", "--", "--flags", ""];
  const request = await parse(["permissions", "--flags", "--", ...words]);
  assert(request.kind === "command");
  assert.deepEqual(request.values.rest, words);
  assert.deepEqual(request.values.operands, []);
  assert(request.values.flag("flags"));
  assert.deepEqual((await values("permissions --flags --")).values.rest, []);
});

Deno.test("parse() reads what stands before a -- as strictWords() does, plain or not", async () => {
  const spec = findCommand("permissions", undefined);
  assert(spec !== undefined);
  const rest = ["--", "-c", "x"];
  for (
    const [line, code] of [
      ["--flags", 0],
      ["-c f --flags", 0],
      ["--config=f", 0],
      ["-c", 2],
      ["--flags --flags", 2],
      ["--flgas", 2],
      ["server --flags", 0],
      ["", 0],
    ] as const
  ) {
    const words = [...line.split(" ").filter(Boolean), "--", ...rest];
    const strict = strictWords(spec, optionsOf(spec), words);
    if (code !== 0) {
      await assert.rejects(strict, UsageFailure);
      await assert.rejects(parse(["permissions", ...words]), UsageFailure);
      continue;
    }
    const request = await parse(["permissions", ...words]);
    assert(request.kind === "command");
    const { operands, rest: left, tokens } = await strict;
    assert.deepEqual({ operands: request.values.operands, rest: request.values.rest }, {
      operands,
      rest: left,
    });
    for (const { spec: { name }, value } of tokens) {
      assert.equal(request.values.text(name) ?? request.values.flag(name), value ?? true);
    }
  }
});

const WRONG_OPERANDS: readonly [line: string, message: RegExp, hint: RegExp][] = [
  ["completions", /SHELL is missing, accepted: bash, zsh, fish$/, /^postern completions --help$/],
  [
    "completions bahs",
    /SHELL: found the word "bahs", accepted: bash, zsh, fish$/,
    /^did you mean: postern completions bash$/,
  ],
  ["completions help", /found the word "help"/, /^did you mean: postern completions --help$/],
  ["completions bash zsh", /unexpected word "zsh", accepted: options and SHELL$/, /--help$/],
  ["permissions srever", /ROLE: found the word "srever"/, /^did you mean: postern permissions server$/],
  [
    "server manage intit",
    /unexpected word "intit", accepted: options, or one of init, /,
    /^did you mean: postern server manage init$/,
  ],
  [
    "client exec web1 uptime",
    /unexpected word "uptime"/,
    /^what is run comes after "--": postern client exec HOST -- /,
  ],
  [`man postern ${"k".repeat(56)}`, /unexpected word of 56 characters/, /--help$/],
  [
    `completions ${"k".repeat(56)}`,
    /SHELL: found the word of 56 characters/,
    /--help$/,
  ],
  ["client send help", /unexpected word "help"/, /^did you mean: postern client send --help$/],
];
for (const [line, message, hint] of WRONG_OPERANDS) {
  Deno.test(`parse() refuses "${line}" and says what is accepted`, async () => {
    await assert.rejects(parse(line.split(" ")), (error) => {
      assert(error instanceof UsageFailure);
      assert.match(error.message, message);
      assert.match(error.hint ?? "", hint);
      return true;
    });
  });
}
