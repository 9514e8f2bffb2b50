import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import fc from "fast-check";
import { parse, plainTokens, type Request } from "../../src/cli/parse.ts";
import { strictTokens } from "../../src/cli/parse_strict.ts";
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
    return await strictTokens(spec, optionsOf(spec), args);
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

Deno.test("strictTokens() refuses what parseArgs refuses, and besides it only repeats and empty values", async () => {
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
          allowPositionals: false,
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
  ["server --help", ["server", "knock"]],
  ["help server", ["server", "knock"]],
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

Deno.test("every command's options have distinct names, and defaults their own rules accept", async () => {
  for (const spec of COMMANDS) {
    const names = optionsOf(spec).flatMap(({ name, short }) => short === undefined ? [name] : [name, short]);
    assert.equal(new Set(names).size, names.length, spec.path.join(" "));
    const required = spec.options.filter((option) => option.required)
      .flatMap((option) => [`--${option.name}`, "value"]);
    await parse([...spec.path, ...required]);
  }
});

for (const { path, examples } of COMMANDS) {
  for (const { line, sshHost } of examples) {
    Deno.test(`the example "${line}" is a call of ${path.join(" ")}`, async () => {
      // What ssh puts in, and what a shell takes out.
      const typed = sshHost === undefined ? line : line.replaceAll("%h", sshHost).replaceAll("%p", "22");
      const request = await parse(typed.replace(/ < \S+$/, "").split(" "));
      assert(request.kind === "command");
      assert.deepEqual(request.command.path, path);
    });
  }
}
