/**
 * The manual pages, made from the command table: of the program, of each role's executable, of each command. They are in
 * the words of the executables, since those are what is installed with them.
 */
import config from "../../deno.json" with { type: "json" };
import { commandsOf, programName, wordsOf } from "./command_words.ts";
import { manFiles, roleFiles } from "./man_files.ts";
import { commandPageName, manPageNames } from "./man_names.ts";
import {
  bold,
  escaped,
  italic,
  literal,
  manPage,
  type ManSection,
  paragraphs,
  prose,
  terms,
  usageWords,
} from "./man_roff.ts";
import { inWordsOf } from "./program_words.ts";
import { roleSummary } from "./role_summary.ts";
import {
  COMMANDS,
  type CommandSpec,
  type ExampleSpec,
  GROUPS,
  HELP_OPTION,
  type OptionSpec,
  type Role,
  roleOf,
  ROLES,
} from "./table.ts";

const SOURCE = `postern ${config.version}`;
const COMMON_COMMANDS = COMMANDS.filter(({ path }) => path.length === 1);

/** Every page by the name of its file, such as `postern-client-send.1`. */
export function manPages(): ReadonlyMap<string, string> {
  return new Map(manPageNames().map((name) => [`${name}.1`, pageNamed(name)]));
}

/** The text of one page, or undefined if there is none of that name. */
export function manPageNamed(name: string): string | undefined {
  return manPageNames().includes(name) ? pageNamed(name) : undefined;
}

function pageNamed(name: string): string {
  const command = COMMANDS.find((each) => commandPageName(each) === name);
  if (command !== undefined) return commandPage(name, command);
  const role = ROLES.find((each) => programName(each) === name);
  return role === undefined ? programPage(name) : rolePage(name, role);
}

function programPage(name: string): string {
  return manPage(name, SOURCE, [
    { title: "NAME", lines: [`${name} \\- reaches machines that look closed`] },
    {
      title: "SYNOPSIS",
      lines: ROLES.flatMap((role, i) => [
        ...(i === 0 ? [] : [".br"]),
        synopsisOf(role),
      ]),
    },
    {
      title: "DESCRIPTION",
      lines: paragraphs([
        "Postern reaches machines that look closed: one silent, encrypted packet, a knock, runs one configured command.",
        "Each role is an executable of its own, with the permissions that it needs and no other.",
        "From a checkout of the sources, or as the one bundled file, it is one program, which wants the role as its " +
        "first word: `postern client send` there is `postern-client send` here.",
      ]),
    },
    {
      title: "EXECUTABLES",
      lines: terms(ROLES.map((role) => [reference(programName(role)), sentence(roleSummary(role).summary)])),
    },
    { title: "COMMANDS OF EVERY EXECUTABLE", lines: commandTerms(COMMON_COMMANDS, null) },
    { title: "FILES", lines: terms(roleFiles(null).map(([path, text]) => [italic(path), text])) },
    exitStatus(),
    seeAlso(ROLES.map(programName)),
  ]);
}

function rolePage(name: string, role: Role): string {
  const { summary, description } = roleSummary(role);
  const commands = GROUPS.flatMap((group) => commandsOf(group, role));
  return manPage(name, SOURCE, [
    { title: "NAME", lines: [`${escaped(name)} \\- ${escaped(summary)}`] },
    { title: "SYNOPSIS", lines: [synopsisOf(role)] },
    { title: "DESCRIPTION", lines: paragraphs(description.map((text) => inWordsOf(role, text))) },
    { title: "COMMANDS", lines: commandTerms(commands, role) },
    { title: "COMMANDS OF EVERY EXECUTABLE", lines: commandTerms(COMMON_COMMANDS, role) },
    {
      title: "OPTIONS",
      lines: terms([
        [`${bold("-h")}, ${bold("--help")}, ${bold("help")} ${italic("COMMAND")}`, "Show a page of help."],
        [`${bold("-V")}, ${bold("--version")}`, "Print the version."],
      ]),
    },
    { title: "FILES", lines: terms(roleFiles(role).map(([path, text]) => [italic(path), text])) },
    exitStatus(),
    seeAlso(["postern", ...[...commands, ...COMMON_COMMANDS].map(commandPageName)]),
  ]);
}

function commandPage(name: string, command: CommandSpec): string {
  const role = roleOf(command);
  const called = [programName(role), ...wordsOf(command, role)].join(" ");
  const told = (text: string): string => role === null ? text : inWordsOf(role, text);
  const { operands = [], rest } = command;
  const files = manFiles(command);
  return manPage(name, SOURCE, [
    { title: "NAME", lines: [`${escaped(name)} \\- ${escaped(command.summary)}`] },
    { title: "SYNOPSIS", lines: [`${bold(called)} ${usageWords(command.usage)}`] },
    {
      title: "DESCRIPTION",
      lines: [...paragraphs(command.description.map(told)), ".PP", prose(programNote(command))],
    },
    ...(operands.length === 0 ? [] : [{
      title: "OPERANDS",
      lines: terms([
        ...operands.map((each) => [italic(each.value), told(withRemarks(each))] as const),
        ...(rest === undefined
          ? []
          : [[`${bold("--")} ${italic(rest.value)}`, sentence(rest.help)] as const]),
      ]),
    }]),
    {
      title: "OPTIONS",
      lines: terms(
        [...command.options, HELP_OPTION].map((option) =>
          [optionTerm(option), told(withRemarks(option))] as const
        ),
      ),
    },
    { title: "PERMISSIONS", lines: permissionLines(command, programName(role)) },
    ...(files.length === 0
      ? []
      : [{ title: "FILES", lines: terms(files.map(([path, text]) => [italic(path), text])) }]),
    exitStatus(),
    {
      title: "EXAMPLES",
      lines: command.examples.flatMap((example, i) => exampleLines(example, told, i === 0)),
    },
    seeAlso(neighboursOf(command, role)),
  ]);
}

/** Which program the command is in, for who has another. */
function programNote(command: CommandSpec): string {
  const role = roleOf(command);
  const [word = ""] = command.path;
  if (role === null) {
    const called = ROLES.map((each) => `\`${programName(each)} ${word}\``);
    return `Every executable has this command: ${called.join(", ")}.`;
  }
  return `In the whole program, as it runs from a checkout, it is \`postern ${command.path.join(" ")}\`.`;
}

function permissionLines({ needs }: CommandSpec, program: string): string[] {
  const kinds = Object.entries(needs);
  if (kinds.length === 0) return ["None: every kind is dropped at start."];
  return [
    "Every kind that is not named here is dropped at start.",
    ...terms(kinds.map(([kind, why]) => [bold(`--allow-${kind}`), sentence(why)])),
    ".PP",
    prose(`\`${program} permissions\` prints the exact ones, and why.`),
  ];
}

function exampleLines(
  { what, line, sshHost }: ExampleSpec,
  told: (text: string) => string,
  isFirst: boolean,
): string[] {
  const typed = told(`postern ${line}`);
  return [
    ...(isFirst ? [] : [".PP"]),
    prose(`${what}:`),
    ...literal(sshHost === undefined ? [typed] : [`Host ${sshHost}`, `  ProxyCommand ${typed}`]),
  ];
}

function exitStatus(): ManSection {
  return {
    title: "EXIT STATUS",
    lines: terms([
      [bold("0"), "Done."],
      [bold("1"), "Failed; the reason is on standard error, and what may help in the line after it."],
      [bold("2"), "Wrong usage; nothing was done."],
    ]),
  };
}

function seeAlso(names: readonly string[]): ManSection {
  return {
    title: "SEE ALSO",
    lines: names.map((name, i) => `${reference(name)}${i < names.length - 1 ? "," : ""}`),
  };
}

function neighboursOf(command: CommandSpec, role: Role | null): string[] {
  const others = COMMANDS.filter((each) => each !== command && roleOf(each) === role);
  return ["postern", ...(role === null ? [] : [programName(role)]), ...others.map(commandPageName)];
}

function commandTerms(commands: readonly CommandSpec[], role: Role | null): string[] {
  return terms(commands.map((command) => [
    `${bold(wordsOf(command, role).join(" "))} ${usageWords(command.usage)}`,
    `${sentence(command.summary)} See \`${commandPageName(command)}\`(1).`,
  ]));
}

function synopsisOf(role: Role): string {
  const isOptional = roleSummary(role).defaultWord !== undefined;
  return `${bold(programName(role))} ${usageWords(isOptional ? "[COMMAND] [options]" : "COMMAND [options]")}`;
}

function optionTerm({ name, short, value }: OptionSpec): string {
  const names = [...(short === undefined ? [] : [bold(`-${short}`)]), bold(`--${name}`)].join(", ");
  return value === undefined ? names : `${names} ${italic(value)}`;
}

interface Explained {
  readonly help: string;
  readonly choices?: readonly string[];
  readonly required?: true;
  readonly default?: string;
}

function withRemarks({ help, choices, required, default: fallback }: Explained): string {
  return [
    sentence(help),
    ...(choices === undefined ? [] : [`One of ${choices.map((each) => `\`${each}\``).join(", ")}.`]),
    ...(required ? ["Required."] : []),
    ...(fallback === undefined ? [] : [`Default: \`${fallback}\`.`]),
  ].join(" ");
}

/** A help text, which begins small and has no full stop, as a sentence. */
function sentence(text: string): string {
  const [first = ""] = text;
  // A word that is typed keeps its letters.
  const start = /^[a-z]+\b(?![-.])/.test(text) && !text.startsWith("ruroco") ? first.toUpperCase() : first;
  return `${start}${text.slice(1)}${/[.)]$/.test(text) && !text.endsWith(")") ? "" : "."}`;
}

function reference(name: string): string {
  return `${bold(name)}(1)`;
}
