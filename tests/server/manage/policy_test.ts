import assert from "node:assert/strict";
import { FIRST_POLICY } from "../../../src/server/manage/first_policy.ts";
import { LivePolicy } from "../../../src/server/manage/live_policy.ts";
import { decide, mayUse, parsePolicy, type PolicyQuestion } from "../../../src/server/manage/policy.ts";
import { Failure } from "../../../src/system/failure.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

const NOON_MS = Date.UTC(2027, 0, 31, 12);
const POLICY = `
[[rule]]
admins = ["alice", "bob"]
hosts = ["tag:prod", "web1"]
actions = ["exec", "forward"]
targets = ["localhost:5432", "*.internal:443"]
until = 2027-01-31T12:00:00Z

[[rule]]
admins = ["*"]
hosts = ["tag:test"]
actions = ["shell"]

[[rule]]
admins = ["alice"]
hosts = ["*"]
actions = ["forward"]
targets = ["10.0.0.0/8:22"]
until = 2027-01-31T13:00:00+02:00

[[rule]]
admins = ["carol"]
hosts = ["tag:test"]
actions = ["shell", "exec"]
until = 2027-01-01T00:00:00Z
`;

function question(words: string): PolicyQuestion {
  const [admin = "", name = "", tags = "", action = "", ...targets] = words.split(" ");
  assert.ok(action === "shell" || action === "exec" || action === "forward");
  return { admin, host: { name, tags: tags === "-" ? [] : tags.split(",") }, action, targets };
}

/** Administrator, host, tags, action, targets; until when, in minutes from noon (null: no end), or why not. */
const TABLE: readonly [words: string, expected: number | null | RegExp, atMs?: number][] = [
  ["alice web9 prod exec", 0],
  ["alice web9 prod exec", 0, NOON_MS],
  ["alice web9 prod exec", /the rule of policy.toml is over that let alice use exec on web9/, NOON_MS + 1],
  ["bob web1 - exec", 0],
  ["bob web2 - exec", /no rule of policy.toml lets bob use exec on web2/],
  ["bob web2 eu,prod exec", 0],
  ["bob prod - exec", /no rule/],
  ["bob web1 - shell", /no rule of policy.toml lets bob use shell on web1/],
  ["dave web1 - exec", /no rule/],
  ["dave lab test shell", null],
  ["dave lab test exec", /no rule/],
  ["carol lab test shell", null],
  ["carol lab test exec", /is over/],
  ["alice web1 - forward localhost:5432", 0],
  [
    "alice web1 - forward localhost:5433",
    /no rule of policy.toml lets alice forward to localhost:5433 on web1/,
  ],
  ["alice web1 - forward db.internal:443 localhost:5432", 0],
  ["alice web1 - forward db.internal:443 localhost:1", /localhost:1 /],
  ["alice web9 - forward 10.2.3.4:22", -60, NOON_MS - 7_200_000],
  ["alice web9 - forward 10.2.3.4:22", /is over/, NOON_MS],
  // Each target by a rule of its own: the earlier end counts.
  ["alice web1 - forward 10.2.3.4:22 localhost:5432", -60, NOON_MS - 7_200_000],
  ["alice web1 - forward 10.2.3.4:22 localhost:5432", /10.2.3.4:22/, NOON_MS - 1],
  ["alice web1 - forward *:*", /no rule/],
  ["alice web1 - forward", /a forward without targets/],
  ["alice web1 - forward nonsense", /a target of the forward is none/],
];

Deno.test("decide() answers by the rules", () => {
  const policy = parsePolicy("policy.toml", POLICY);
  for (const [words, expected, atMs = NOON_MS - 60_000] of TABLE) {
    const decision = decide(policy, question(words), atMs);
    if (expected instanceof RegExp) {
      assert.ok(!decision.allowed, words);
      assert.match(decision.reason, expected, words);
    } else {
      const untilMs = expected === null ? null : NOON_MS + expected * 60_000;
      assert.deepEqual(decision, { allowed: true, untilMs }, words);
    }
  }
});

Deno.test("decide() gives the latest end of the rules that allow it", () => {
  const rule = (until: string): string =>
    `[[rule]]\nadmins = ["*"]\nhosts = ["*"]\nactions = ["shell"]\n${until}\n`;
  const early = rule("until = 2027-01-31T12:00:00Z"), late = rule("until = 2027-01-31T13:00:00Z");
  const ask = (text: string): unknown => decide(parsePolicy("p", text), question("a h - shell"), NOON_MS);
  assert.deepEqual(ask(early + late), { allowed: true, untilMs: NOON_MS + 3_600_000 });
  assert.deepEqual(ask(late + early), { allowed: true, untilMs: NOON_MS + 3_600_000 });
  assert.deepEqual(ask(early + rule("") + late), { allowed: true, untilMs: null });
});

Deno.test("decide() allows nothing by a policy without rules", () => {
  assert.equal(decide(parsePolicy("p", ""), question("alice web1 - shell"), 0).allowed, false);
});

Deno.test("mayUse() shows a host as long as a rule in force lets anything be done on it", () => {
  const policy = parsePolicy("policy.toml", POLICY);
  const shown = (admin: string, name: string, tags: readonly string[], atMs = NOON_MS): boolean =>
    mayUse(policy, { admin, host: { name, tags } }, atMs);
  assert.equal(shown("bob", "web1", []), true);
  assert.equal(shown("bob", "web1", [], NOON_MS + 1), false);
  assert.equal(shown("bob", "web2", []), false);
  assert.equal(shown("dave", "lab", ["test"]), true);
});

Deno.test("FIRST_POLICY lets every administrator do everything, and its examples are right", () => {
  const policy = parsePolicy("policy.toml", FIRST_POLICY);
  for (const words of ["a h - shell", "a h - exec", "a h - forward *:* 10.0.0.0/8:* x:1"]) {
    assert.deepEqual(decide(policy, question(words), NOON_MS), { allowed: true, untilMs: null });
  }
  const uncommented = FIRST_POLICY.replace(/^# (?=\[\[|\w+ = )/gm, "");
  assert.equal(parsePolicy("policy.toml", uncommented).rules.length, 2);
});

const GOOD_RULE = `[[rule]]
admins = ["*"]
hosts = ["*"]
actions = ["shell"]
`;

const WRONG: readonly [text: string, message: RegExp][] = [
  ["x = 1", /^p:1: x: found an unknown field, accepted are rule/],
  ["[[rules]]\n", /^p:1: rules: found an unknown field.*did you mean rule/],
  ["rule = 5", /^p:1: rule: found 5, accepted is tables under \[\[rule\]\]/],
  ["rule = [1]", /^p:1: rule: found 1 in the list/],
  ["[rule]\n", /^p:1: rule: found a table/],
  [`[[rule]]\nhosts = ["*"]\nactions = ["shell"]`, /^p:1: rule.admins: found nothing, accepted is a list/],
  [`${GOOD_RULE}\n[[rule]]\nadmins = ["*"]\nactions = ["shell"]`, /^p:6: rule.hosts: found nothing/],
  [`[[rule]]\nadmins = ["*"]\nactions = ["shell"]\n${GOOD_RULE}`, /^p:1: rule.hosts: found nothing/],
  [`${GOOD_RULE}\n[[rule]]\nadmins = ["*"]\nhosts = ["*"]`, /^p:6: rule.actions: found nothing/],
  [
    `${GOOD_RULE}\n[[rule]]\nadmins = []\nhosts = ["*"]\nactions = ["shell"]`,
    /^p:7: rule.admins: found a list of 0/,
  ],
  [`${GOOD_RULE}admin = ["x"]`, /^p:5: rule.admin: found an unknown field.*did you mean admins/],
  [`${GOOD_RULE}${GOOD_RULE.replace('"shell"', '"shel"')}`, /^p:8: rule.actions: found "shel" in the list/],
  [GOOD_RULE.replace('["*"]', '["Alice"]'), /^p:2: rule.admins: found "Alice" in the list/],
  [GOOD_RULE.replace('["*"]', '["*", "alice"]'), /^p:2: rule.admins: found "\*" in the list/],
  [GOOD_RULE.replace('hosts = ["*"]', 'hosts = ["tag:"]'), /^p:3: rule.hosts: found "tag:" in the list/],
  [
    GOOD_RULE.replace('hosts = ["*"]', 'hosts = "web1"'),
    /^p:3: rule.hosts: found "web1", accepted is a list/,
  ],
  [GOOD_RULE.replace('hosts = ["*"]', "hosts = [1]"), /^p:3: rule.hosts: found 1 in the list/],
  [`${GOOD_RULE}targets = ["*:*"]`, /^p:5: rule.targets: found targets, accepted only with "forward"/],
  [GOOD_RULE.replace('"shell"', '"forward"'), /^p:1: rule.targets: found nothing, accepted is a list/],
  [
    `${GOOD_RULE.replace('"shell"', '"forward"')}targets = ["db"]`,
    /^p:5: rule.targets: found "db" in the list, accepted is HOST:PORT/,
  ],
  [`${GOOD_RULE}until = 2027-01-31T18:00:00`, /^p:5: rule.until: found a time without a zone/],
  [`${GOOD_RULE}until = "2027-01-31T18:00:00Z"`, /^p:5: rule.until: found no time/],
  [`${GOOD_RULE}until = 2027-01-31`, /^p:5: rule.until: found a time without a zone/],
  [`${GOOD_RULE}until = `, /^p:5:\d+: found no valid TOML/],
];

Deno.test("parsePolicy() refuses what is wrong, with the line of the right rule", () => {
  for (const [text, message] of WRONG) {
    assert.throws(() => parsePolicy("p", text), (error) => {
      assert.ok(error instanceof Failure, text);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("LivePolicy.open() refuses a policy that is wrong or missing", async () => {
  await using folder = await TempFolder.make("policy");
  const path = `${folder.path}/policy.toml`;
  await assert.rejects(LivePolicy.open(path), /could not read/);
  await Deno.writeFile(path, new Uint8Array([0xff]));
  await assert.rejects(LivePolicy.open(path), /not UTF-8/);
  await Deno.writeTextFile(path, "[[rule]]\n");
  await assert.rejects(LivePolicy.open(path), /policy.toml:1: rule.admins/);
});

Deno.test("LivePolicy lets nobody open a session by a broken policy, and lets those that run go on", async () => {
  await using folder = await TempFolder.make("policy");
  const path = `${folder.path}/policy.toml`;
  await Deno.writeTextFile(path, GOOD_RULE);
  const live = await LivePolicy.open(path);
  const shell = question("alice web1 - shell");
  assert.equal(live.decideNew(shell, 0).allowed, true);
  assert.equal(await live.refresh(), "same");

  await Deno.writeTextFile(path, `${GOOD_RULE}until = x`);
  assert.equal(await live.refresh(), "broken");
  assert.equal(await live.refresh(), "same", "told once");
  assert.match(live.trouble ?? "", /policy.toml:5/);
  const refused = live.decideNew(shell, 0);
  assert.deepEqual(refused, { allowed: false, reason: "policy.toml is not good at the moment" });
  assert.equal(live.decideRunning(shell, 0).allowed, true);
  assert.equal(live.mayUse({ admin: "alice", host: shell.host }, 0), true);

  await Deno.writeTextFile(path, GOOD_RULE);
  assert.equal(await live.refresh(), "changed");
  assert.equal(live.trouble, null);
  assert.equal(live.decideNew(shell, 0).allowed, true);

  await Deno.remove(path);
  assert.equal(await live.refresh(), "broken");
  assert.equal(await live.refresh(), "same");
  assert.equal(live.decideNew(shell, 0).allowed, false);
  assert.equal(live.decideRunning(shell, 0).allowed, true);

  await Deno.writeTextFile(path, GOOD_RULE.replace('"*"', '"bob"'));
  assert.equal(await live.refresh(), "changed");
  assert.equal(live.decideNew(shell, 0).allowed, false);
  assert.equal(live.decideRunning(shell, 0).allowed, false, "a stricter policy is for those that run too");
});

Deno.test("LivePolicy ends nothing by a policy that is empty only while it is written", async () => {
  await using folder = await TempFolder.make("policy");
  const path = `${folder.path}/policy.toml`;
  await Deno.writeTextFile(path, GOOD_RULE);
  const live = await LivePolicy.open(path);
  const shell = question("alice web1 - shell");
  for (let round = 0; round < 2; round++) {
    await Deno.writeTextFile(path, "");
    assert.equal(await live.refresh(), "same");
    assert.equal(live.decideRunning(shell, 0).allowed, true);
    await Deno.writeTextFile(path, GOOD_RULE);
    assert.equal(await live.refresh(), "same");
  }
  // One that stays so is meant: nothing is allowed.
  await Deno.writeTextFile(path, "");
  assert.equal(await live.refresh(), "same");
  assert.equal(await live.refresh(), "changed");
  assert.equal(live.decideRunning(shell, 0).allowed, false);
  assert.equal(await live.refresh(), "same");
});
