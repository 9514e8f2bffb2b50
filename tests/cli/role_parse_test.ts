/** What a role's executable takes and refuses; `parse_test.ts` is about the whole program. */
import assert from "node:assert/strict";
import { parse, type Request } from "../../src/cli/parse.ts";
import { wordsOf } from "../../src/cli/command_words.ts";
import { COMMANDS, type Role, roleOf, ROLES } from "../../src/cli/table.ts";
import { UsageFailure } from "../../src/system/failure.ts";

async function parsed(role: Role, line: string): Promise<Request> {
  return await parse(line.split(" ").filter(Boolean), { role });
}

const ACCEPTED: readonly [role: Role, line: string, path: string][] = [
  ["client", "send -a h -k K", "client send"],
  ["client", "client send -a h -k K", "client send"],
  ["client", "gen", "client gen"],
  ["server", "", "server knock"],
  ["server", "--config f", "server knock"],
  ["server", "-cf", "server knock"],
  ["server", "knock --check", "server knock"],
  ["server", "server", "server knock"],
  ["server", "server knock -c f", "server knock"],
  ["server", "relay", "server relay"],
  ["server", "server relay --rate 5", "server relay"],
  ["commander", "", "commander knock"],
  ["commander", "--check", "commander knock"],
  ["setup", "setup --dry-run", "client setup"],
  ["setup", "client setup", "client setup"],
  ["setup", "doctor", "client doctor"],
  ["setup", "update --from file:///x", "client update"],
  ["setup", "server doctor", "server doctor"],
  ["setup", "commander doctor", "commander doctor"],
];
for (const [role, line, path] of ACCEPTED) {
  Deno.test(`parse() takes "postern-${role} ${line}" as ${path}`, async () => {
    const request = await parsed(role, line);
    assert(request.kind === "command");
    assert.equal(request.command.path.join(" "), path);
  });
}

const REFUSED: readonly [role: Role, line: string, message: RegExp, hint: string][] = [
  [
    "client",
    "doctor -a h",
    /^cannot run "client doctor": this is postern-client, accepted is postern-setup: it runs programs, which the client may not$/,
    "postern-setup doctor",
  ],
  ["client", "setup", /which the client may not$/, "postern-setup setup"],
  ["client", "client update", /postern-setup/, "postern-setup update"],
  ["client", "server doctor", /postern-setup/, "postern-setup server doctor"],
  [
    "client",
    "server",
    /^cannot run "server knock": this is postern-client, accepted is postern-server$/,
    "postern-server",
  ],
  ["client", "server knock -c f", /accepted is postern-server$/, "postern-server"],
  ["client", "commander", /accepted is postern-commander$/, "postern-commander"],
  ["client", "knock", /accepted is postern-server$/, "postern-server"],
  ["client", "server relay", /accepted is postern-server$/, "postern-server relay"],
  ["client", "server shell", /accepted is postern-server$/, "postern-server --help"],
  ["server", "send -a h", /^cannot run "client send": .* accepted is postern-client$/, "postern-client send"],
  ["server", "client send", /accepted is postern-client$/, "postern-client send"],
  ["server", "client", /accepted is postern-client$/, "postern-client --help"],
  ["server", "doctor", /which the server may not$/, "postern-setup server doctor"],
  ["commander", "doctor", /may run the shell only$/, "postern-setup commander doctor"],
  ["commander", "server", /accepted is postern-server$/, "postern-server"],
  ["setup", "send", /accepted is postern-client$/, "postern-client send"],
  ["setup", "server", /accepted is postern-server$/, "postern-server"],
  ["setup", "commander --check", /accepted is postern-commander$/, "postern-commander"],
  ["setup", "client connect", /accepted is postern-client$/, "postern-client connect"],
  [
    "client",
    "sned",
    /^cannot run postern-client: unknown command "sned", accepted: send, gen, /,
    "did you mean: postern-client send",
  ],
  [
    "client",
    "",
    /^cannot run postern-client: no command given, accepted: send, gen, /,
    "postern-client --help",
  ],
  [
    "client",
    "-a h",
    /unknown option "-a" before the command/,
    "options come after the command: postern-client --help",
  ],
  ["client", "client version", /unknown command "version"/, "did you mean: postern-client --version"],
  [
    "server",
    "server sned",
    /^cannot run "postern-server server": unknown command "sned", accepted: knock, relay, manage$/,
    "postern-server server --help",
  ],
  ["setup", "server knokc", /unknown command "knokc", accepted: doctor$/, "postern-setup server --help"],
];
for (const [role, line, message, hint] of REFUSED) {
  Deno.test(`parse() refuses "postern-${role} ${line}" and says what has it`, async () => {
    await assert.rejects(parsed(role, line), (error) => {
      assert(error instanceof UsageFailure);
      assert.match(error.message, message);
      assert.equal(error.hint, hint);
      return true;
    });
  });
}

Deno.test("parse() takes in each executable exactly the commands of its role and those of all", async () => {
  for (const role of ROLES) {
    for (const command of COMMANDS) {
      const owner = roleOf(command);
      for (const words of [command.path, wordsOf(command, role)]) {
        const request = parse([...words, "--help"], { role });
        if (owner === null || owner === role) {
          assert.deepEqual(await request, { kind: "help", path: command.path });
        } else {
          await assert.rejects(request, UsageFailure, `${role}: ${words.join(" ")}`);
        }
      }
    }
  }
});

const HELP_LINES: readonly [role: Role, line: string, path: string[]][] = [
  ["client", "--help", []],
  ["client", "help", []],
  ["client", "help send", ["client", "send"]],
  ["client", "help client send", ["client", "send"]],
  ["client", "client help", ["client"]],
  ["client", "send --help", ["client", "send"]],
  ["client", "help permissions", ["permissions"]],
  ["server", "--help", []],
  ["server", "-c f --help", ["server", "knock"]],
  ["server", "help knock", ["server", "knock"]],
  ["setup", "", []],
  ["setup", "help server", ["server"]],
  ["setup", "help server doctor", ["server", "doctor"]],
  ["setup", "server doctor -h", ["server", "doctor"]],
];
for (const [role, line, path] of HELP_LINES) {
  Deno.test(`parse() reads "postern-${role} ${line}" as a wish for help`, async () => {
    assert.deepEqual(await parsed(role, line), { kind: "help", path });
  });
}

Deno.test("parse() takes permissions, completions, man and version in every executable", async () => {
  for (const role of ROLES) {
    for (const line of ["permissions", "completions bash", "man"]) {
      assert.equal((await parsed(role, line)).kind, "command", line);
    }
    assert.deepEqual(await parsed(role, "--version"), { kind: "version" });
  }
});
