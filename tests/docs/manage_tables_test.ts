/** The recipes and tables of docs/manage.md are read by the code, and say what it does. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";
import { CHECKOUT } from "../../src/cli/build.ts";
import { MANAGE_COMMANDS } from "../../src/cli/manage_commands.ts";
import { parse } from "../../src/cli/parse.ts";
import { COMMANDS } from "../../src/cli/table.ts";
import { ESCAPE_HELP } from "../../src/client/manage/escape_keys.ts";
import { MAX_CONNECTIONS } from "../../src/client/manage/forward.ts";
import { REATTACH_GRACE_MS } from "../../src/client/manage/shell.ts";
import {
  type AgentConfig,
  DEFAULT_AGENT_TOML,
  parseAgentConfig,
} from "../../src/commander/agent/agent_config.ts";
import { mayConnect, mayOpen, mayRun } from "../../src/commander/agent/host_policy.ts";
import { ATTEMPT_MS } from "../../src/commander/agent/server_dial.ts";
import type { Action } from "../../src/protocol/manage/control_contract.ts";
import { HEARTBEAT_MS } from "../../src/protocol/manage/heartbeat.ts";
import { EARLY_OUTAGE_MS, EARLY_PAUSE_MS, LATE_PAUSE_MS } from "../../src/protocol/manage/reconnect.ts";
import { MAX_TARGETS } from "../../src/protocol/manage/session_open.ts";
import type { AuditEvent } from "../../src/server/manage/audit.ts";
import { MAX_LINKS_PER_ADMIN, UNPROVEN_LIMITS } from "../../src/server/manage/config.ts";
import { FIRST_POLICY } from "../../src/server/manage/first_policy.ts";
import { decide, parsePolicy, type Policy } from "../../src/server/manage/policy.ts";
import { SessionWindows } from "../../src/server/manage/session_windows.ts";
import { parseTomlSource } from "../../src/system/toml_file.ts";
import { PAGE, page, pageTable, tomlOnPage } from "./manage_page.ts";

/** The compiler sees that none is missing. */
const AUDIT_EVENTS: Readonly<Record<AuditEvent, true>> = {
  init: true,
  invite_created: true,
  joined: true,
  join_refused: true,
  revoked: true,
  ca_rotated: true,
  link_up: true,
  link_down: true,
  link_refused: true,
  link_contested: true,
  session_opened: true,
  session_refused: true,
  session_ended: true,
  policy_changed: true,
};

const NOW_MS = Date.UTC(2027, 0, 30);

/** Admin, host, its tags, action, targets of a forward, and whether it is allowed. */
type Case = readonly [string, string, readonly string[], Action, readonly string[], boolean];

const POLICIES: Readonly<Record<string, readonly Case[]>> = {
  everybody: [
    ["anybody", "web1", [], "shell", [], true],
    ["anybody", "web1", [], "forward", ["*:*"], true],
  ],
  team: [
    ["bob", "web1", ["prod"], "shell", [], true],
    ["bob", "test1", [], "exec", [], false],
    ["alice", "test1", [], "exec", [], true],
    ["alice", "web1", ["prod"], "forward", ["localhost:1"], false],
    ["carol", "web1", ["prod"], "shell", [], false],
  ],
  narrow: [
    ["carol", "db1", ["prod"], "forward", ["localhost:5432"], true],
    ["carol", "db1", ["prod"], "forward", ["localhost:22"], false],
    ["carol", "db1", ["prod"], "exec", [], false],
    ["robot", "db1", ["prod"], "exec", [], true],
    ["robot", "db1", ["prod"], "shell", [], false],
  ],
  until: [
    ["dave", "web1", [], "shell", [], true],
    ["dave", "web1", [], "exec", [], false],
  ],
  network: [
    ["anybody", "gate", [], "forward", ["10.0.0.7:3389", "wiki.lan:80"], true],
    ["anybody", "gate", [], "forward", ["10.9.9.9:8080"], true],
    ["anybody", "gate", [], "forward", ["10.0.0.8:3389"], false],
    ["anybody", "gate", [], "forward", ["desk.lan:3389"], false],
    ["anybody", "gate", [], "forward", ["*:*"], false],
  ],
};

function isAllowed(policy: Policy, [admin, name, tags, action, targets]: Case, nowMs = NOW_MS): boolean {
  return decide(policy, { admin, host: { name, tags }, action, targets }, nowMs).allowed;
}

const policies = tomlOnPage("policy");
for (const [name, text] of policies) {
  Deno.test(`${PAGE}: the policy "${name}" allows what the page says, and no more`, () => {
    const policy = parsePolicy("policy.toml", text);
    for (const each of POLICIES[name] ?? assert.fail(`no cases for "${name}"`)) {
      assert.equal(isAllowed(policy, each), each[5], JSON.stringify(each));
    }
  });
}

Deno.test(`${PAGE} shows the policy that init writes, and one that ends on time`, () => {
  assert.deepEqual([...policies.keys()], Object.keys(POLICIES));
  assert.deepEqual(
    parsePolicy("policy.toml", policies.get("everybody") ?? ""),
    parsePolicy("policy.toml", FIRST_POLICY),
  );
  const until = parsePolicy("policy.toml", policies.get("until") ?? "");
  const dave = ["dave", "web1", [], "shell", [], true] as const;
  assert(isAllowed(until, dave, Date.UTC(2027, 0, 31, 18)));
  assert(!isAllowed(until, dave, Date.UTC(2027, 0, 31, 18) + 1));
});

const PASSWD = "root:x:0:0::/root:/bin/sh\nops:x:1000:1000::/home/ops:/bin/bash\n";

/** A recipe in a file that has every other key as `--join` writes it. */
function agentConfig(recipe: string): AgentConfig {
  let text = DEFAULT_AGENT_TOML;
  for (const line of recipe.trim().split("\n")) {
    const [key = ""] = line.split(" = ");
    const changed = text.replace(new RegExp(`^${key} = .*$`, "m"), line);
    assert.notEqual(changed, text.replace(line, ""), `agent.toml has a key ${key}`);
    text = changed;
  }
  return parseAgentConfig(parseTomlSource("agent.toml", text), { passwd: PASSWD, ownUid: 0 });
}

const adminKey = new Uint8Array(32);
const agents = tomlOnPage("agent");

function refusal(config: AgentConfig, action: Action, targets: readonly string[] = []): string | null {
  return mayOpen(config, { action, targets, adminKey });
}

Deno.test(`${PAGE}: the agent.toml "commands" lets two programs run, and nothing else`, () => {
  const config = agentConfig(agents.get("commands") ?? "");
  assert.equal(refusal(config, "exec"), null);
  assert.match(refusal(config, "shell") ?? "", /not allowed/);
  assert.match(refusal(config, "forward", ["localhost:1"]) ?? "", /not allowed/);
  assert.equal(mayRun(config, ["/usr/bin/uptime"]), null);
  assert.equal(mayRun(config, ["/usr/bin/systemctl", "restart", "nginx"]), null);
  assert.notEqual(mayRun(config, ["/usr/bin/systemctl", "restart", "sshd"]), null);
  assert.notEqual(mayRun(config, ["uptime"]), null);
});

Deno.test(`${PAGE}: the agent.toml "gate" lets forwards lead where it says, and nothing else`, () => {
  const config = agentConfig(agents.get("gate") ?? "");
  assert.match(refusal(config, "shell") ?? "", /not allowed/);
  assert.match(refusal(config, "exec") ?? "", /not allowed/);
  const any = ["*:*"];
  assert.equal(mayConnect(config, any, "10.0.0.7", 3389), null);
  assert.equal(mayConnect(config, any, "wiki.lan", 80), null);
  assert.notEqual(mayConnect(config, any, "10.0.0.7", 22), null);
  assert.notEqual(mayConnect(config, ["10.0.0.7:3389"], "wiki.lan", 80), null);
});

Deno.test(`${PAGE}: the agent.toml "recorded" records shells of one user, which wait a day`, () => {
  const config = agentConfig(agents.get("recorded") ?? "");
  assert.equal(refusal(config, "shell"), null);
  assert.equal(config.account.name, "ops");
  assert.equal(config.record, "/var/lib/postern-agent/recordings");
  assert.equal(config.detachGraceMs, 86_400_000);
  assert.deepEqual([...agents.keys()], ["commands", "gate", "recorded"]);
});

Deno.test(`${PAGE} names every event of the audit, in their order`, () => {
  assert.deepEqual(pageTable("event").map(([event]) => event), Object.keys(AUDIT_EVENTS));
});

/** How many sessions an administrator may look at before one more is refused. */
function sessionsOfOne(): number {
  const windows = new SessionWindows();
  for (let count = 0; count < 100_000; count++) {
    try {
      windows.enter("alice");
    } catch {
      return count;
    }
  }
  return Infinity;
}

Deno.test(`${PAGE} tells the times of a link, and its limits, as the code has them`, () => {
  const seconds = (ms: number): string => `${ms / 1000} s`;
  assert.deepEqual(pageTable("what", "time").map(([, time]) => time), [
    seconds(HEARTBEAT_MS),
    seconds(ATTEMPT_MS),
    "20 s",
    "at once",
    seconds(EARLY_PAUSE_MS),
    seconds(LATE_PAUSE_MS),
    `${REATTACH_GRACE_MS / 3_600_000} hour`,
  ]);
  assert(page.includes(`when an outage has lasted ${EARLY_OUTAGE_MS / 60_000} minutes`));
  const standard = agentConfig("max_sessions = 32");
  const { strangers, strangersPerNetwork, timeMs } = UNPROVEN_LIMITS;
  assert.deepEqual(pageTable("what", "how many").map(([, count]) => count), [
    `${standard.maxSessions}, max_sessions up to 512`,
    `${MAX_LINKS_PER_ADMIN}`,
    `${MAX_TARGETS}`,
    sessionsOfOne().toLocaleString("en-US"),
    `${MAX_CONNECTIONS}`,
    `${standard.scrollbackBytes / 1024} KiB, scrollback_kib up to 65,536`,
    `${strangers}, of one address ${strangersPerNetwork}, each ${seconds(timeMs)}`,
  ]);
  agentConfig("max_sessions = 512\nscrollback_kib = 65536");
  assert.throws(() => agentConfig("max_sessions = 513"), /max_sessions/);
  assert.throws(() => agentConfig("scrollback_kib = 65537"), /scrollback_kib/);
});

Deno.test(`${PAGE} names the keys of a shell that the client shows`, () => {
  const [, ...lines] = ESCAPE_HELP;
  assert.deepEqual(pageTable("keys").map(([keys]) => keys), lines.map((line) => line.trim().split("  ")[0]));
});

/** Of other programs, and of the shell. */
const FOREIGN_OPTIONS = ["--socks5-hostname", "-A"];

Deno.test(`${PAGE} speaks of options that are there, with values that they take`, async () => {
  const named = [...page.matchAll(/`(-[^`]*)`/g)].map(([, words = ""]) => words.split(" "));
  assert(named.length > 20);
  for (const [option = "", ...values] of named) {
    if (option === "-" || option === "--" || FOREIGN_OPTIONS.includes(option)) continue;
    const found = [...MANAGE_COMMANDS, ...COMMANDS].find(({ options }) =>
      ["json", "help"].includes(option.slice(2)) || options.some(({ name }) => option === `--${name}`)
    );
    assert(found !== undefined, `no command has ${option}`);
    if (values.length === 0 || values.some((value) => /^[A-Z]+$/.test(value))) continue;
    const operands = found.path.at(-1) === "invite" ? ["host", "web1"] : ["web1"];
    const unquoted = values.map((value) => value.replaceAll("'", ""));
    await parse([...found.path, ...operands, option, ...unquoted], CHECKOUT);
  }
});

Deno.test("SECURITY.md names tests of manage that are there", async () => {
  const text = await Deno.readTextFile(`${repositoryFolder}/SECURITY.md`);
  const section = /\n## Manage\n([\s\S]*?)\n## /.exec(text)?.[1] ?? "";
  const named = [...section.matchAll(/`(tests\/[a-z0-9_./]+)`/g)].map(([, path = ""]) => path);
  assert(named.length > 20);
  for (const path of named) {
    assert((await Deno.stat(`${repositoryFolder}/${path}`)).isFile === path.endsWith(".ts"), path);
  }
});
