/** docs/manage.md does what it says: its lines are typed, by real processes, and every error that it explains is met. */
import assert from "node:assert/strict";
import { succeeds, unless } from "../e2e/machine.ts";
import { until } from "../e2e/until.ts";
import { PAGE, pageTable, printedOnPage, Reader } from "./manage_page.ts";

const TIMEOUT_MS = 180_000;

const obstacle = await succeeds("script", ["-qfec", "true", "/dev/null"])
  ? await succeeds("curl", ["--version"]) ? null : "needs curl"
  : "needs script of util-linux";

/** A table of hosts without what differs from run to run, and with one blank between words. */
function alike(text: string): string {
  return text
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, "TIME")
    .replaceAll(/ (?:[0-9.]+ ms|-) /g, " LATENCY ")
    .replaceAll(/ +/g, " ");
}

async function edit(reader: Reader, path: string, from: string | RegExp, to: string): Promise<void> {
  const text = await Deno.readTextFile(reader.path(path)), changed = text.replace(from, to);
  assert.notEqual(changed, text, path);
  await Deno.writeTextFile(reader.path(path), changed);
}

/** Types a line again and again until it has said something: a file that was changed is read within a second. */
async function says(reader: Reader, line: string, code: number, pattern: RegExp): Promise<void> {
  const from = reader.said.length;
  await until(`"${line}" says ${pattern}`, async () => {
    await reader.run(line, code).catch(() => {});
    return pattern.test(reader.said.slice(from));
  }, { pollMs: 200 });
}

async function firstFiveMinutes(reader: Reader): Promise<void> {
  await reader.type("init");
  const server = reader.begin(reader.take("server"));
  await server.says(/management server ready/);
  await reader.type("join-host");
  const agent = reader.begin(reader.take("agent"));
  await agent.says(/linked to the server/);
  await reader.type("join-admin");
  assert.equal(alike(await reader.type("hosts")), alike(printedOnPage("hosts")));
  const shell = reader.terminal(reader.take("first-shell"));
  await shell.type("echo $((6 * 7)); exit 3\r");
  await shell.shows(/^42\r?$/m);
  assert.equal(await shell.end(), 3);
  assert.match(shell.shown, /first session with web1: its key is pinned, SHA256:/);
}

async function invitations(reader: Reader): Promise<void> {
  assert.match(await reader.type("invite"), /^$/);
  const join = reader.take("join");
  await reader.run(join);
  await reader.run(join);
  await reader.run(join.replace("agent-db1", "agent-other"), 1);
  await reader.run("postern server manage invite host web1 --dir manage", 1);
  await reader.run("echo nonsense | postern client join -", 2);
  await reader.run("postern client exec db1 -- true", 255);
  await reader.type("replace");
  await reader.type("revoke-invite");
  await reader.type("revoke");
  assert.match(await reader.type("list"), /web1 [\s\S]*alice/);
}

async function sessions(reader: Reader): Promise<void> {
  assert.equal(await reader.type("exec"), "Linux\n");
  await reader.type("exec-pipe");
  assert.equal(await Deno.readTextFile(reader.path("answer.txt")), "HELLO\n");
  assert.equal(await reader.type("exec-many"), printedOnPage("exec-many"));
  await reader.run("postern client exec web1 -- nosuchprogram", 127);
  await reader.run("postern client exec web2 -- true", 255);

  const recorded = reader.terminal(reader.take("record"));
  await recorded.type("echo $((6 * 9))\rexit\r");
  await recorded.shows(/^54\r?$/m);
  assert.equal(await recorded.end(), 0);
  assert.match(await reader.type("replay"), /^54\r?$/m);

  const left = reader.terminal(reader.take("detach"));
  const [, id = ""] = await left.shows(/session ([0-9a-f]{16}) outlives/);
  await left.type("echo $((7 * 9))\r");
  await left.shows(/^63\r?$/m);
  await left.type("~d");
  assert.equal(await left.end(), 0);
  const attach = reader.take("attach");
  await reader.run(attach, 255);
  const again = reader.terminal(attach.replace("3f9a0c41d2b7e655", id));
  await again.shows(/^63\r?$/m);
  await again.type("exit 5\r");
  assert.equal(await again.end(), 5);
}

async function ports(reader: Reader): Promise<void> {
  const forward = reader.begin(reader.take("forward"));
  await forward.says(/leads to localhost/);
  assert.equal(await reader.type("forward-curl"), "it works");
  await forward.kill("SIGINT");
  await reader.run("postern client forward web1 0:10.0.0.7:3389", 1);
  const socks = reader.begin(reader.take("socks"));
  await socks.says(/is a SOCKS5 proxy/);
  const curl = reader.take("socks-curl");
  assert.equal(await reader.run(curl), "it works");
  await reader.run(curl.replace("localhost:8000", "localhost:1"), 97);
  await reader.run(curl.replace("localhost:8000", "elsewhere.test:80"), 97);
  reader.said += socks.stderr;
  await socks.kill("SIGINT");
}

Deno.test({
  ...unless(obstacle, `${PAGE}: a newcomer types all of it, and meets every error that the page explains`),
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using reader = await Reader.make();
    await reader.run("postern client hosts", 1);
    await reader.run("postern commander agent --dir agent", 1);
    await firstFiveMinutes(reader);
    await invitations(reader);
    await sessions(reader);
    await json(reader);
    await ports(reader);
    await hostsWord(reader);
    await serversWord(reader);
    await theEnd(reader);
    reader.requireAllTaken();
    for (const [seen = ""] of pageTable("what you see")) {
      const [words = ""] = seen.split(", with a number");
      const pattern = words.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(
        "host: nosuch",
        "host: [0-9]+: exec: nosuch",
      );
      assert.match(reader.said, new RegExp(pattern));
    }
  },
});

/** agent.toml, of which a change is there within a second. */
async function hostsWord(reader: Reader): Promise<void> {
  assert.match(await reader.type("identity"), /^alice:[A-Za-z0-9_-]{43}\n$/);
  const before = reader.said.length;
  const trusted = await reader.type("trust") + reader.said.slice(before);
  const unkeyed = (text: string): string => text.replaceAll(/SHA256:\S+/g, "KEY");
  for (const line of printedOnPage("trust").trim().split("\n")) {
    assert(unkeyed(trusted).includes(unkeyed(line)));
  }
  const program = "postern client exec web1 -- true";
  await reader.run(program);
  const own = await Deno.readTextFile(reader.path("agent/agent.toml"));
  const [, key = ""] = /"alice:([^"]+)"/.exec(own) ?? [];
  await edit(reader, "agent/agent.toml", key, "ebKkT4vsmenqAQVp8UpsDUtaZ7CjJ7xHmLHeMQ4zsbc");
  await says(reader, program, 255, /not in admins of its agent\.toml/);
  await reader.run("postern commander agent trust alice --dir agent", 1);
  await Deno.writeTextFile(reader.path("agent/agent.toml"), own.replace("exec = true", "exec = false"));
  await says(reader, program, 255, /exec not allowed/);
  await Deno.writeTextFile(reader.path("agent/agent.toml"), own);
  await reader.run("postern commander agent --dir agent", 1);
  for (const [name, mode, usual] of [["agent", 0o775, 0o700], ["agent/agent.key", 0o644, 0o600]] as const) {
    await Deno.chmod(reader.path(name), mode);
    await reader.run("postern commander agent --dir agent", 1);
    await Deno.chmod(reader.path(name), usual);
  }
}

/** The names in the table of `--json` are those that are printed. */
async function json(reader: Reader): Promise<void> {
  const lines: Readonly<Record<string, string>> = {
    "client hosts": "postern client hosts --json",
    "client exec --all-tagged": "postern client exec --all-tagged prod --json -- true",
    "server manage list": "postern server manage list --json --dir manage",
    "server manage audit": "postern server manage audit --json --limit 1 --dir manage",
    "server manage audit --verify": "postern server manage audit --verify --json --dir manage",
  };
  const rows = pageTable("command");
  assert.deepEqual(rows.map(([command]) => command), Object.keys(lines));
  for (const [command = "", cell = ""] of rows) {
    const [, names = ""] = /\{(.*?)\}/.exec(cell) ?? [];
    const printed: object = [JSON.parse(await reader.run(lines[command] ?? ""))].flat()[0];
    assert.deepEqual(
      Object.keys(printed).sort(),
      names.split(", ").map((name) => JSON.parse(name)).sort(),
      command,
    );
  }
}

/** policy.toml, the audit, and a key that has changed. */
async function serversWord(reader: Reader): Promise<void> {
  assert.match(await reader.type("audit"), /session_ended/);
  assert.match(await reader.type("verify"), /^OK: [0-9]+ rows/);
  const known = "~/.config/postern/manage/known_hosts";
  const pinned = await Deno.readTextFile(reader.path(known));
  await edit(reader, known, /web1 .*/, "web1 ebKkT4vsmenqAQVp8UpsDUtaZ7CjJ7xHmLHeMQ4zsbc");
  await reader.run("postern client exec web1 -- true", 255);
  await Deno.writeTextFile(reader.path(known), pinned);
  await edit(reader, known, "web1 ", "web0 ");
  await reader.run("postern client exec web1 -- true", 255);
  await Deno.writeTextFile(reader.path(known), pinned);
  const folder = reader.path("~/.config/postern/manage");
  await Deno.chmod(folder, 0o775);
  await reader.run("postern client hosts", 1);
  await Deno.chmod(folder, 0o700);
  await edit(reader, "manage/policy.toml", '"shell", ', "");
  await says(reader, "postern client shell web1", 255, /no rule of policy\.toml lets/);
  await edit(reader, "manage/policy.toml", /^hosts = /m, "hots = ");
  await says(reader, "postern client exec web1 -- true", 255, /policy\.toml is not good/);
  await edit(reader, "manage/policy.toml", /^hots = /m, "hosts = ");
}

/** What ends with the server, and with alice. */
async function theEnd(reader: Reader): Promise<void> {
  await reader.type("rotate");
  await reader.type("backup");
  await Deno.chmod(reader.path("manage-backup"), 0o755);
  await reader.run("postern server manage list --dir manage-backup", 1);
  await reader.run("postern server manage revoke admin alice --dir manage");
  await reader.run("postern client hosts", 1);
  await edit(reader, "~/.config/postern/manage/server.json", /127\.0\.0\.1:[0-9]+/, "127.0.0.1:1");
  await reader.run("postern client hosts", 1);
  await reader.run(
    "deno run --no-prompt --allow-read /path/to/postern/main.ts server manage --dir manage",
    1,
  );
}
