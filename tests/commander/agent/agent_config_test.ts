import assert from "node:assert/strict";
import {
  DEFAULT_AGENT_TOML,
  readAgentConfig,
  tryParseAdmin,
} from "../../../src/commander/agent/agent_config.ts";
import { sessionAccount } from "../../../src/commander/agent/session_account.ts";
import { formatPattern } from "../../../src/protocol/manage/target_pattern.ts";
import { configOf, PASSWD } from "./agent_under_test.ts";

Deno.test("DEFAULT_AGENT_TOML says the same as an empty file, key by key", () => {
  const [written, empty] = [configOf(DEFAULT_AGENT_TOML), configOf("")];
  assert.deepEqual(written, empty);
  const { forward, account, ...rest } = written;
  assert.deepEqual(forward.map(formatPattern), ["localhost:*", "127.0.0.1:*", "[::1]:*"]);
  assert.equal(account.name, "root");
  assert.deepEqual(rest, {
    path: "/agent/agent.toml",
    shell: true,
    exec: true,
    commands: [],
    runAs: null,
    shellProgram: null,
    admins: [],
    detachGraceMs: 600_000,
    scrollbackBytes: 262_144,
    maxSessions: 32,
    record: null,
  });
});

for (
  const [toml, problem] of [
    ['shell = "yes"', /agent\.toml:1: shell: found "yes", accepted is true or false$/],
    ["\nexec = 1", /agent\.toml:2: exec: found 1, accepted is true or false$/],
    ["comands = []", /agent\.toml:1: comands: found an unknown field, .*did you mean.*commands/],
    ['commands = [["/bin/ls"]]', /commands: found commands beside shell = true, accepted is shell = false/],
    [
      'shell = false\ncommands = [["ls"]]',
      /agent\.toml:2: commands: found a list of 1 in the list, .*absolute path$/,
    ],
    ["shell = false\ncommands = [[]]", /commands: found a list of 0 in the list/],
    ['shell = false\ncommands = ["/bin/ls"]', /commands: found "\/bin\/ls" in the list/],
    ['shell = false\ncommands = "/bin/ls"', /commands: found "\/bin\/ls", accepted is a list of commands/],
    ['run_as = "bob"', /run_as: found no user "bob" in \/etc\/passwd/],
    ['shell_program = "bash"', /shell_program: found "bash", accepted is the absolute path of a program/],
    ['record = "/a,/"', /record: found "\/a,\/", accepted is the absolute path of a folder without a comma/],
    ['forward = ["localhost"]', /forward: found "localhost" in the list, accepted is HOST:PORT/],
    ['forward = "localhost:1"', /forward: found "localhost:1", accepted is a list of HOST:PORT/],
    ['admins = ["alice"]', /admins: found "alice" in the list, accepted is NAME:KEY/],
    ['admins = ["Alice:x"]', /admins: found "Alice:x" in the list/],
    ['detach_grace = "8d"', /detach_grace: found "8d", accepted is a time such as/],
    ["detach_grace = 10", /detach_grace: found 10, accepted is a time such as/],
    ["scrollback_kib = -1", /scrollback_kib: found -1, accepted is a whole number from 0 to 65536$/],
    ["max_sessions = 513", /max_sessions: found 513, accepted is a whole number from 0 to 512$/],
    ["shell = ", /agent\.toml:1:\d+: found no valid TOML/],
  ] as const
) {
  Deno.test(`parseAgentConfig() refuses ${toml.trim()}`, () => {
    assert.throws(() => configOf(toml), { name: "Failure", message: problem });
  });
}

Deno.test("parseAgentConfig() reads times and sizes", () => {
  for (const [text, ms] of [["90s", 90_000], ["8h", 28_800_000], ["7d", 604_800_000], ["0s", 0]] as const) {
    assert.equal(configOf(`detach_grace = "${text}"`).detachGraceMs, ms);
  }
  assert.equal(configOf("scrollback_kib = 1").scrollbackBytes, 1024);
});

Deno.test("parseAgentConfig() takes another user from root only", () => {
  const config = configOf('run_as = "alice"', 0);
  assert.deepEqual([config.runAs, config.account], ["alice", {
    name: "alice",
    uid: 1000,
    gid: 1000,
    home: "/home/alice",
    shell: "/bin/zsh",
  }]);
  assert.throws(() => configOf('run_as = "root"', 1000), {
    message:
      /run_as: found another user than the agent's own \(uid 1000\), which only an agent that runs as root may/,
  });
  assert.equal(configOf('run_as = "alice"', 1000).runAs, "alice");
});

Deno.test("sessionAccount() finds the agent's own user, also one without a line", () => {
  assert.deepEqual(sessionAccount("", PASSWD, 1000), {
    name: "alice",
    uid: 1000,
    gid: 1000,
    home: "/home/alice",
    shell: "/bin/zsh",
  });
  assert.deepEqual(sessionAccount("", "", 7), { name: "7", uid: 7, gid: 7, home: "/", shell: "/bin/sh" });
  const broken = "a:x:no:1::/:/bin/sh\n\n:x:7:7::/:/bin/sh\nok:x:7:8:::\n";
  assert.deepEqual(sessionAccount("", broken, 7), {
    name: "ok",
    uid: 7,
    gid: 8,
    home: "/",
    shell: "/bin/sh",
  });
});

Deno.test("readAgentConfig() says how to get a missing file", async () => {
  await assert.rejects(readAgentConfig("/nowhere/agent.toml", { passwd: PASSWD, ownUid: 0 }), {
    message: "could not read /nowhere/agent.toml",
    hint: "postern commander agent --join TOKEN writes it, with every default",
  });
});

Deno.test("readAgentConfig() refuses a file whose end is cut off, wherever", async () => {
  const path = await Deno.makeTempFile(), lines = DEFAULT_AGENT_TOML.trimEnd().split("\n");
  try {
    for (let count = 0; count < lines.length; count++) {
      await Deno.writeTextFile(path, lines.slice(0, count).join("\n"));
      await assert.rejects(readAgentConfig(path, { passwd: PASSWD, ownUid: 0 }), {
        message: /it does not say .*record, accepted is a whole file$/,
      });
    }
    await Deno.writeTextFile(path, lines.join("\n"));
    assert.equal((await readAgentConfig(path, { passwd: PASSWD, ownUid: 0 })).shell, true);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("tryParseAdmin() takes NAME:KEY and nothing else", () => {
  const key = "A".repeat(42) + "E";
  assert.equal(tryParseAdmin(`alice:${key}`)?.name, "alice");
  for (const text of ["alice", `:${key}`, `Alice:${key}`, `alice:${key}A`, `alice:${key} `, "alice:"]) {
    assert.equal(tryParseAdmin(text), null, text);
  }
});
