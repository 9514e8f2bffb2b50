import assert from "node:assert/strict";
import { mayConnect, mayGoOn, mayOpen, mayRun, refusalOf } from "../../../src/commander/agent/host_policy.ts";
import type { Action } from "../../../src/protocol/manage/control_contract.ts";
import { formatPublicKey } from "../../../src/protocol/manage/signing_key.ts";
import { configOf } from "./agent_under_test.ts";

const alice = new Uint8Array(32).fill(7), mallory = new Uint8Array(32).fill(8);
const pinned = `admins = ["alice:${formatPublicKey(alice)}"]`;

for (
  const [what, toml, action, targets, refusal] of [
    ["a shell by default", "", "shell", [], null],
    ["exec by default", "", "exec", [], null],
    ["a forward to this host by default", "", "forward", ["localhost:5432"], null],
    ["any target declared, since each connection is looked at", "", "forward", ["*:*"], null],
    ["one good target among others", "", "forward", ["db.test:1", "127.0.0.1:1"], null],
    ["a pattern that only overlaps", "", "forward", ["*:22"], null],
    ["a range that only overlaps", 'forward = ["db.test:8000-8999"]', "forward", ["db.test:8999-9999"], null],
    ["no shell", "shell = false", "shell", [], "shell not allowed by its agent.toml"],
    ["no exec", "exec = false", "exec", [], "exec not allowed by its agent.toml"],
    ["no forward", "forward = []", "forward", ["localhost:1"], "forward not allowed by its agent.toml"],
    [
      "a forward to elsewhere",
      "",
      "forward",
      ["db.test:1"],
      "forward to db.test:1 not allowed by its agent.toml",
    ],
    [
      "another port",
      'forward = ["db.test:1"]',
      "forward",
      ["db.test:2"],
      "forward to db.test:2 not allowed by its agent.toml",
    ],
    ["a target that is none", "", "forward", ["localhost:1", "??"], "a target that is none"],
    ["a forward to nowhere", "", "forward", [], "a target that is none"],
  ] as const
) {
  Deno.test(`mayOpen() ${refusal === null ? "allows" : "refuses"} ${what}`, () => {
    assert.equal(mayOpen(configOf(toml), { action, targets, adminKey: alice }), refusal);
  });
}

Deno.test("mayOpen() goes by the key, and by nothing else, once one is pinned", () => {
  const actions: readonly Action[] = ["shell", "exec", "forward"];
  for (const action of actions) {
    const asked = { action, targets: ["localhost:1"] };
    assert.equal(mayOpen(configOf(pinned), { ...asked, adminKey: alice }), null);
    assert.equal(
      mayOpen(configOf(pinned), { ...asked, adminKey: mallory }),
      "this administrator's key is not in admins of its agent.toml",
    );
  }
});

Deno.test("mayRun() compares every word of the listed commands", () => {
  const config = configOf(
    'shell = false\ncommands = [["/bin/systemctl", "restart", "nginx"], ["/bin/uptime"]]',
  );
  const refusal = "this command is not among the commands of its agent.toml";
  assert.equal(mayRun(config, ["/bin/systemctl", "restart", "nginx"]), null);
  assert.equal(mayRun(config, ["/bin/uptime"]), null);
  for (
    const command of [
      ["/bin/systemctl", "restart", "nginx", "sshd"],
      ["/bin/systemctl", "restart"],
      ["/bin/systemctl", "stop", "nginx"],
      ["systemctl", "restart", "nginx"],
      ["/bin/uptime", ""],
      [],
    ]
  ) assert.equal(mayRun(config, command), refusal, command.join(" "));
  assert.equal(mayRun(configOf(""), ["anything"]), null);
});

Deno.test("mayConnect() wants a target that was declared and is allowed", () => {
  const config = configOf('forward = ["localhost:*", "10.0.0.0/8:22"]');
  const connect = (host: string, port: number, targets = ["*:*"]): string | null =>
    mayConnect(config, targets, host, port);
  assert.equal(connect("localhost", 5432), null);
  assert.equal(connect("LOCALHOST.", 5432), null);
  assert.equal(connect("10.1.2.3", 22), null);
  assert.equal(connect("10.1.2.3", 23), "forward to this target not allowed by its agent.toml");
  // Wherever that name leads: networks are for addresses.
  assert.equal(connect("ten.test", 22), "forward to this target not allowed by its agent.toml");
  assert.equal(
    connect("localhost", 5432, ["localhost:80"]),
    "this target was not declared when the session was opened",
  );
  assert.equal(
    connect("localhost", 5432, ["??"]),
    "this target was not declared when the session was opened",
  );
});

for (
  const [what, action, before, after, goesOn] of [
    ["a shell when nothing has changed", "shell", "", "", true],
    ["a shell when others may do less", "shell", "", "exec = false\nforward = []", true],
    ["a shell that is not allowed", "shell", "", "shell = false", false],
    ["a shell of a key that is not pinned", "shell", "", pinned, false],
    ["a shell when sessions have another user", "shell", "", 'run_as = "alice"', false],
    ["exec when sessions have another user", "exec", "", 'run_as = "alice"', false],
    [
      "exec when commands are listed",
      "exec",
      "shell = false",
      'shell = false\ncommands = [["/bin/a"]]',
      false,
    ],
    [
      "exec when a listed command is gone",
      "exec",
      'shell = false\ncommands = [["/bin/a"], ["/bin/b"]]',
      'shell = false\ncommands = [["/bin/a"]]',
      false,
    ],
    [
      "exec when a command is added",
      "exec",
      'shell = false\ncommands = [["/bin/a"]]',
      'shell = false\ncommands = [["/bin/a"], ["/bin/b"]]',
      true,
    ],
    ["exec when any command is allowed now", "exec", 'shell = false\ncommands = [["/bin/a"]]', "", true],
    ["a forward when a target is gone", "forward", "", 'forward = ["localhost:*"]', false],
    ["a forward when a target is added", "forward", 'forward = ["localhost:*"]', "", true],
    [
      "a forward when sessions have another user, which it has none of",
      "forward",
      "",
      'run_as = "alice"',
      true,
    ],
  ] as const
) {
  Deno.test(`mayGoOn() ${goesOn ? "leaves" : "ends"} ${what}`, () => {
    const asked = { action, targets: action === "forward" ? ["localhost:*"] : [], adminKey: mallory };
    assert.equal(mayGoOn(configOf(before), configOf(after), asked) === null, goesOn);
  });
}

Deno.test("refusalOf() names the host", () => {
  assert.equal(
    refusalOf("web1", "shell not allowed by its agent.toml"),
    "web1 refuses: shell not allowed by its agent.toml",
  );
});
