/** Renders the command table as help pages. Loaded only when help is asked for. */
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
  type OptionSpec,
} from "./table.ts";

const WIDTH_CHARS = 100;
const EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage";

/**
 * The help page of a path: `[]` for the program, `[group]`, or `[group, word]`.
 *
 * @param mainPath path of the main module, for who runs it from a checkout and has no program called `postern`
 * @throws {TypeError} for a path the command table does not have (`parse` checks paths first)
 */
export function helpPage(
  path: readonly string[],
  mainPath: string,
  isStandalone = Deno.build.standalone,
): string {
  const program = isStandalone ? "postern" : `deno run -A ${shellWord(mainPath)}`;
  const [groupWord, word] = path;
  if (groupWord === undefined) return programPage(program);
  const group = findGroup(groupWord);
  if (group === undefined) throw new TypeError(`no help page for "${groupWord}"`);
  if (word === undefined) return groupPage(group, program);
  const command = findCommand(groupWord, word);
  if (command === undefined) throw new TypeError(`no help page for "${groupWord} ${word}"`);
  return commandPage(command, program);
}

/** What has to be typed once before the examples, which call the program by its name. */
function examplesHeading(program: string): string[] {
  if (program === "postern") return ["Examples:"];
  return [
    "Run from a checkout, after this line the examples work as they are:",
    `  alias postern=${shellWord(program)}`,
    "",
    "Examples:",
  ];
}

function exampleLines({ line, sshHost }: ExampleSpec, program: string): string[] {
  if (sshHost === undefined) return [`postern ${line}`];
  // No alias is known where ssh runs it.
  return [`Host ${sshHost}`, `  ProxyCommand ${program.replaceAll("%", "%%")} ${line}`];
}

function programPage(program: string): string {
  return page([
    "Postern reaches machines that look closed: one silent, encrypted packet runs one configured command.",
    "",
    "Usage: postern COMMAND [options]",
    ...GROUPS.flatMap((group) => [
      "",
      `${group.word}: ${group.summary}`,
      ...commandRows(group),
    ]),
    "",
    "Everywhere:",
    ...rows([
      ["help [COMMAND], -h, --help", "show the help of a command, or this page"],
      ["-V, --version", "print the version"],
    ]),
    "",
    ...examplesHeading(program),
    "  postern client gen --key-file user.key",
    "  postern client send -a host.example:34020 -K user.key -c open_ssh",
    "  postern help client send",
    "",
    EXIT_CODES,
  ]);
}

function groupPage(group: GroupSpec, program: string): string {
  return page([
    `Usage: postern ${group.word} COMMAND [options]`,
    "",
    ...group.description.flatMap((paragraph) => wrap(paragraph, 0)),
    "",
    "Commands:",
    ...commandRows(group),
    "",
    ...examplesHeading(program),
    ...commandsOf(group).flatMap((command) => command.examples.slice(0, 1)).map((example) =>
      `  postern ${example.line}`
    ),
    "",
    `More: postern ${group.word} COMMAND --help`,
  ]);
}

function commandPage(command: CommandSpec, program: string): string {
  const needs = Object.entries(command.needs);
  return page([
    `Usage: postern ${command.path.join(" ")} ${command.usage}`,
    "",
    ...command.description.flatMap((paragraph) => [...wrap(paragraph, 0), ""]),
    "Options:",
    ...rows([...command.options, HELP_OPTION].map((option) => [optionColumn(option), optionText(option)])),
    "",
    "Permissions (every other kind is dropped at start):",
    ...rows(needs.map(([kind, reason]) => [`--allow-${kind}`, reason])),
    "",
    ...examplesHeading(program),
    ...command.examples.flatMap((example) => [
      `  ${example.what}:`,
      ...exampleLines(example, program).map((line) => `    ${line}`),
    ]),
    "",
    EXIT_CODES,
  ]);
}

function commandsOf(group: GroupSpec): CommandSpec[] {
  return COMMANDS.filter((command) => command.path[0] === group.word);
}

function commandRows(group: GroupSpec): string[] {
  return rows(commandsOf(group).map((command) => [command.path.join(" "), command.summary]));
}

function optionColumn(option: OptionSpec): string {
  const short = option.short === undefined ? "    " : `-${option.short}, `;
  return `${short}--${option.name}${option.value === undefined ? "" : ` ${option.value}`}`;
}

function optionText(option: OptionSpec): string {
  const remarks = [
    ...(option.choices === undefined ? [] : [option.choices.join(" or ")]),
    ...(option.required ? ["required"] : []),
    ...(option.default === undefined ? [] : [`default: ${option.default}`]),
  ];
  return remarks.length === 0 ? option.help : `${option.help} (${remarks.join("; ")})`;
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
