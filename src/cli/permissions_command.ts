/**
 * `postern permissions`: what a command may do, for somebody who decides whether it should; and, with `--flags --
 * WORDS`, the flags of one command line for the program that is to start it.
 *
 * A self-extracting executable asks itself like that at each start, before it starts itself again with exactly the
 * flags it was told:
 *
 *   deno run --no-prompt --allow-read=CONFIG
 *     --allow-env=POSTERN_CONF_DIR,RUROCO_CONF_DIR,XDG_CONFIG_HOME,HOME,POSTERN_RELAY,XDG_STATE_HOME
 *     BUNDLE EXECUTABLE permissions --flags -- WORDS...
 *
 * CONFIG is the one file that is read: where the server and the commander work decides their flags. The variables
 * decide the client's config folder, its relay and its state folder. So they are what this may see, and not `HOME`
 * expanded by a shell script: the rule which of them counts stays in one place. A wrong guess which file CONFIG is widens
 * nothing, it is refused here.
 */
import { Failure, UsageFailure } from "../system/failure.ts";
import { type Build, CHECKOUT } from "./build.ts";
import { type OptionValues, parse, type Request } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { flagsOf, formatListing, type PermissionListing } from "./permission_listing.ts";
import { permissionsFor } from "./permission_table.ts";
import { COMMANDS, type CommandSpec, findGroup, roleOf } from "./table.ts";
import { jsonLine, printExact, printNotice, printResult } from "./terminal.ts";

/** Prints the permissions of the commands that are asked for. */
export async function permissionsCommand(values: OptionValues, invocation: Invocation): Promise<void> {
  const listings = await askedFor(values, invocation);
  // Exact, as the flags below are: a path that only looks like a key must stay what it is.
  if (values.flag("json")) return printExact(jsonLine({ commands: listings.map(jsonOf) }));
  if (!values.flag("flags")) {
    const pages = listings.map((each) => formatListing(each, invocation.mainPath, invocation.build));
    return printResult(pages.join("\n"));
  }
  if (listings.length > 1) {
    throw new UsageFailure("cannot print the flags of several commands: accepted is one of them", {
      hint: `postern permissions --flags ${listings[0]?.command ?? ""}`,
    });
  }
  for (const { grants } of listings) printExact(flagsOf(grants).map(oneLine).join(""));
}

async function askedFor(values: OptionValues, { build }: Invocation): Promise<PermissionListing[]> {
  const { operands, rest } = values;
  if (rest === undefined) return await listingsOf(chosenCommands(operands, build), values);
  if (operands.length > 0) {
    throw new UsageFailure(
      `cannot run "postern permissions": found "${operands.join(" ")}" and a command line after "--", ` +
        "accepted: one of them",
      { hint: "postern permissions --flags -- client send -a host.example -K user.key" },
    );
  }
  const request = await parse(rest, build);
  // Help and the version need nothing, so there is no line.
  return request.kind === "command" ? [await listingOf(request, rest, build)] : [];
}

/** A flag that goes into a list of one a line. */
function oneLine(flag: string): string {
  // What follows the line break would be a flag of its own, `--allow-all` perhaps.
  if (/[\r\n\0]/.test(flag)) {
    throw new Failure(
      `could not print the flag ${JSON.stringify(flag)}: found a line break, accepted are paths without one`,
    );
  }
  return `${flag}\n`;
}

/**
 * Without a word the commands of a role's executable: `server` is what faces the internet, and its doctor, which may run
 * programs, is one of setup's.
 */
function chosenCommands(operands: readonly string[], build: Build): CommandSpec[] {
  const [role, ...words] = operands;
  const commands = COMMANDS.filter(({ path }) => path.length > 1);
  const chosen = commands.filter((command) =>
    words.length === 0
      ? role === undefined || roleOf(command) === role
      : command.path.join(" ") === operands.join(" ")
  );
  if (chosen.length === 0) {
    const accepted = commands.filter(({ path }) => path[0] === role).map(({ path }) =>
      path.slice(1).join(" ")
    );
    throw new UsageFailure(
      `cannot run "postern permissions": unknown command "${operands.join(" ")}", accepted after ${role}: ` +
        (accepted.join(", ") || "nothing"),
      { hint: `postern permissions ${role}` },
    );
  }
  const own = chosen.filter((command) => build.role === null || roleOf(command) === build.role);
  const [first] = chosen;
  if (own.length > 0 || first === undefined) return own;
  const owner = `postern-${roleOf(first)}`;
  throw new UsageFailure(
    `cannot tell the permissions of "${first.path.join(" ")}": this is postern-${build.role}, ` +
      `accepted is ${owner}`,
    { hint: [owner, "permissions", ...operands].join(" ") },
  );
}

/** Of several commands, what cannot be told of one (without a configuration, say) is no reason to hide the others. */
async function listingsOf(
  commands: readonly CommandSpec[],
  values: OptionValues,
): Promise<PermissionListing[]> {
  const listings: PermissionListing[] = [];
  for (const command of commands) {
    try {
      const { full, minimal } = exampleOf(command, values);
      const listing = await listingOf(await requestOf(full), full);
      listings.push(minimal === null ? listing : { ...listing, minimal: await minimalOf(minimal) });
    } catch (error) {
      if (!(error instanceof Failure) || commands.length === 1) throw error;
      printNotice(`warning: nothing about "postern ${command.path.join(" ")}": ${error.message}`);
    }
  }
  return listings;
}

async function listingOf(
  { command, values }: Request & { kind: "command" },
  words: readonly string[],
  build: Build = CHECKOUT,
): Promise<PermissionListing> {
  const grants = await permissionsFor(command, values, build);
  const needed = grants.filter(({ optional }) => optional !== true);
  return { command: command.path.join(" "), words, grants, minimal: { words, grants: needed } };
}

async function minimalOf(words: readonly string[]): Promise<PermissionListing["minimal"]> {
  return (await listingOf(await requestOf(words), words)).minimal;
}

/** Command lines that stand for all of a command. */
const EXAMPLES: Readonly<Record<string, { readonly full: string; readonly minimal?: string }>> = {
  "client send": { full: "-a host.example -K user.key", minimal: "-a host.example -k -" },
  "client connect": {
    full: "-a host.example -K user.key --to host.example:22",
    minimal: "-a host.example -k KEY --to host.example:22",
  },
  "client gen": { full: "--key-file user.key", minimal: "" },
  "client share": { full: "report.pdf --relay relay.example:8080" },
  "client receive": { full: "--relay relay.example:8080" },
  "client join": { full: "-" },
  "client shell": { full: "web1" },
  "client exec": { full: "web1 -- uptime" },
  "client forward": { full: "web1 5432" },
  "client replay": { full: "web1.cast" },
  "server manage init": { full: "--address manage.example:7022" },
  "server manage invite": { full: "host web1" },
  "server manage revoke": { full: "host web1" },
  "commander agent trust": { full: "alice" },
  "client doctor": { full: "-a host.example -K user.key" },
  "client update": { full: "--from https://releases.example/postern" },
};
/** Options of `postern permissions` that the command described has, too. */
const PASSED_ON = ["config", "commands", "status"];

function exampleOf(
  command: CommandSpec,
  values: OptionValues,
): { full: readonly string[]; minimal: readonly string[] | null } {
  const [group, word] = command.path;
  const isDefault = command.path.length === 2 && findGroup(group)?.defaultWord === word;
  const start = isDefault ? [group] : command.path;
  const passedOn = command.options.flatMap(({ name }) => {
    const value = PASSED_ON.includes(name) ? values.text(name) : undefined;
    return value === undefined ? [] : [`--${name}`, value];
  });
  const { full = "", minimal } = EXAMPLES[command.path.join(" ")] ?? {};
  const wordsOf = (text: string): string[] => [...start, ...text.split(" ").filter(Boolean), ...passedOn];
  return { full: wordsOf(full), minimal: minimal === undefined ? null : wordsOf(minimal) };
}

async function requestOf(words: readonly string[]): Promise<Request & { kind: "command" }> {
  const request = await parse(words, CHECKOUT);
  if (request.kind !== "command") throw new TypeError(`"${words.join(" ")}" is no command`);
  return request;
}

function jsonOf({ command, grants, minimal }: PermissionListing): Record<string, unknown> {
  return {
    command,
    flags: flagsOf(grants),
    minimal_flags: flagsOf(minimal.grants),
    permissions: grants.map((each) => ({ ...each, optional: each.optional === true })),
  };
}
