/** Renders the command table as help pages. Loaded only when help is asked for. */
import type { Build } from "./build.ts";
import { commandsOf, hasCommand, namedCommand, programName, wordsOf } from "./command_words.ts";
import { inWordsOf } from "./program_words.ts";
import { roleSummary } from "./role_summary.ts";
import { shellWord } from "./shell_word.ts";
import {
  COMMANDS,
  type CommandSpec,
  type ExampleSpec,
  findCommand,
  findGroup,
  GROUPS,
  type GroupSpec,
  HELP_OPTION,
  type OperandSpec,
  type OptionSpec,
  type Role,
} from "./table.ts";

const WIDTH_CHARS = 100;
const EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage";

/** The program at hand. */
interface Program {
  readonly role: Role | null;
  /** What is typed to start it. */
  readonly line: string;
}

/** How the program was called: path of its main module and what it was built for. */
export interface HelpContext {
  readonly mainPath: string;
  readonly build: Pick<Build, "role">;
}

/**
 * The help page of a path: `[]` for the program, `[group]`, `[group, word]`, or `[word]` of what every program has.
 * In a role's executable the page has that role's commands only, as they are typed there.
 *
 * @throws {TypeError} for a path the command table does not have (`parse` checks paths first)
 */
export function helpPage(
  path: readonly string[],
  { mainPath, build: { role } }: HelpContext,
  isStandalone = Deno.build.standalone,
): string {
  // From a checkout, or as the one bundled file, there is no program called `postern`.
  const line = role !== null || isStandalone ? programName(role) : `deno run -A ${shellWord(mainPath)}`;
  const program: Program = { role, line };
  const [first, word, below] = path;
  if (first === undefined) return programPage(program);
  const command = findCommand(first, word, below);
  if (command !== undefined) return commandPage(command, program);
  const group = findGroup(first);
  if (group === undefined || word !== undefined) throw new TypeError(`no help page for "${path.join(" ")}"`);
  return group.word === role ? programPage(program) : groupPage(group, program);
}

/** A text that names commands, as they are typed in this program. */
function told(text: string, { role }: Program): string {
  return role === null ? text : inWordsOf(role, text);
}

function examplesPart(lines: readonly string[], { line }: Program): string[] {
  if (lines.length === 0) return [];
  // What has to be typed once before the examples, which call the program by its name.
  const alias = line.includes(" ")
    ? [
      "Run from a checkout, after this line the examples work as they are:",
      `  alias postern=${shellWord(line)}`,
      "",
    ]
    : [];
  return ["", ...alias, "Examples:", ...lines];
}

function exampleLines({ line, sshHost }: ExampleSpec, program: Program): string[] {
  if (sshHost === undefined) return [told(`postern ${line}`, program)];
  // No alias is known where ssh runs it.
  const words = program.role === null
    ? `${program.line.replaceAll("%", "%%")} ${line}`
    : told(`postern ${line}`, program);
  return [`Host ${sshHost}`, `  ProxyCommand ${words}`];
}

/** Whether an example of a command that every program has is about a command that this one has. */
function isExampleFor({ line }: ExampleSpec, role: Role | null): boolean {
  const [, ...words] = line.split(" ");
  const start = words.findIndex((word) => findGroup(word) !== undefined);
  const { command } = namedCommand(start < 0 ? [] : words.slice(start), null);
  return command === undefined || hasCommand(role, command);
}

function programPage(program: Program): string {
  const { role } = program;
  return page([
    ...(role === null ? wholeProgram() : roleProgram(role)),
    "",
    "Everywhere:",
    ...rows([
      ...COMMANDS.filter(({ path }) => path.length === 1).map(
        (command) => [command.path[0], command.summary] as const,
      ),
      ["help [COMMAND], -h, --help", "show the help of a command, or this page"],
      ["-V, --version", "print the version"],
    ]),
    ...examplesPart(programExamples(role).map((line) => `  ${told(line, program)}`), program),
    "",
    EXIT_CODES,
  ]);
}

function wholeProgram(): string[] {
  return [
    "Postern reaches machines that look closed: one silent, encrypted packet runs one configured command.",
    "",
    "Usage: postern COMMAND [options]",
    ...GROUPS.flatMap((group) => ["", `${group.word}: ${group.summary}`, ...commandRows([group], null)]),
  ];
}

function roleProgram(role: Role): string[] {
  const { summary, description, defaultWord } = roleSummary(role);
  const program = programName(role);
  return [
    `${program}: ${summary}`,
    "",
    ...(defaultWord === undefined
      ? [`Usage: ${program} COMMAND [options]`]
      : [`Usage: ${program} [COMMAND] [options]   (without a command: ${defaultWord})`]),
    "",
    ...description.flatMap((paragraph) => wrap(paragraph, 0)),
    "",
    "Commands:",
    ...commandRows(GROUPS, role),
  ];
}

function programExamples(role: Role | null): string[] {
  if (role === null) {
    return [
      "postern client gen --key-file user.key",
      "postern client send -a host.example:34020 -K user.key -c open_ssh",
      "postern help client send",
    ];
  }
  return GROUPS.flatMap((group) => commandsOf(group, role)).flatMap(({ examples: [first] }) =>
    first === undefined ? [] : [`postern ${first.line}`]
  );
}

function groupPage(group: GroupSpec, program: Program): string {
  const { role } = program;
  const name = `${programName(role)} ${group.word}`;
  const examples = commandsOf(group, role).flatMap((command) => command.examples.slice(0, 1));
  const defaultWord = role === null ? group.defaultWord : undefined;
  return page([
    defaultWord === undefined
      ? `Usage: ${name} COMMAND [options]`
      : `Usage: ${name} [COMMAND] [options]   (without a command: ${defaultWord})`,
    "",
    ...group.description.flatMap((paragraph) => wrap(paragraph, 0)),
    "",
    "Commands:",
    ...commandRows([group], role),
    ...examplesPart(examples.map(({ line }) => `  ${told(`postern ${line}`, program)}`), program),
    "",
    `More: ${name} COMMAND --help`,
  ]);
}

function commandPage(command: CommandSpec, program: Program): string {
  const { role } = program;
  const needs = Object.entries(command.needs);
  const { operands = [], rest } = command;
  const examples = command.path.length === 1
    ? command.examples.filter((example) => isExampleFor(example, role))
    : command.examples;
  return page([
    `Usage: ${[programName(role), ...wordsOf(command, role), command.usage].join(" ")}`,
    "",
    ...command.description.flatMap((paragraph) => [...wrap(told(paragraph, program), 0), ""]),
    ...(operands.length === 0 ? [] : [
      "Words:",
      ...rows([
        ...operands.map((operand) => [operand.value, told(withRemarks(operand), program)] as const),
        ...(rest === undefined ? [] : [[`-- ${rest.value}`, rest.help] as const]),
      ]),
      "",
    ]),
    "Options:",
    ...rows(
      [...command.options, HELP_OPTION].map((
        option,
      ) => [optionColumn(option), told(withRemarks(option), program)]),
    ),
    "",
    ...(needs.length === 0 ? ["Permissions: none; every kind is dropped at start"] : [
      "Permissions (every other kind is dropped at start):",
      ...rows(needs.map(([kind, reason]) => [`--allow-${kind}`, reason])),
    ]),
    ...examplesPart(
      examples.flatMap((example) => [
        `  ${example.what}:`,
        ...exampleLines(example, program).map((line) => `    ${line}`),
      ]),
      program,
    ),
    "",
    EXIT_CODES,
  ]);
}

function commandRows(groups: readonly GroupSpec[], role: Role | null): string[] {
  return rows(
    groups.flatMap((group) => commandsOf(group, role))
      .map((command) => [wordsOf(command, role).join(" "), command.summary]),
  );
}

function optionColumn(option: OptionSpec): string {
  const short = option.short === undefined ? "    " : `-${option.short}, `;
  return `${short}--${option.name}${option.value === undefined ? "" : ` ${option.value}`}`;
}

function withRemarks(spec: OptionSpec | OperandSpec): string {
  const { choices, required, help } = spec;
  const remarks = [
    ...(choices === undefined ? [] : [choices.join(" or ")]),
    ...(required ? ["required"] : []),
    ...("default" in spec ? [`default: ${spec.default}`] : []),
  ];
  return remarks.length === 0 ? help : `${help} (${remarks.join("; ")})`;
}

/** Two columns; the right one is wrapped under itself. */
function rows(entries: readonly (readonly [string, string])[]): string[] {
  const leftChars = Math.max(...entries.map(([left]) => left.length)) + 4;
  return entries.flatMap(([left, right]) => {
    const [first = "", ...rest] = wrap(right, leftChars);
    return [`  ${left}`.padEnd(leftChars) + first.trimStart(), ...rest];
  });
}

function wrap(text: string, indentChars: number): string[] {
  const indent = " ".repeat(indentChars);
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && indentChars + line.length + 1 + word.length > WIDTH_CHARS) {
      lines.push(indent + line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, indent + line];
}

function page(lines: readonly string[]): string {
  return lines.join("\n") + "\n";
}
