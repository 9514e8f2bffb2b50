/**
 * policy.toml: which administrator may do what on which hosts, until when. The server asks it for every session, and again
 * while the session runs. The host's own agent.toml is asked besides, and has the last word.
 *
 * A session is allowed by any one rule, a forward by a rule for each of its targets. There is nothing a rule can forbid:
 * what no rule allows is not allowed. Nothing in it is lenient: a field that we passed over because of a typo would leave a
 * door open that the operator believes shut.
 */
import { TomlDate } from "smol-toml";
import type { Action } from "../../protocol/manage/control_contract.ts";
import { isName, NAME_FORM } from "../../protocol/manage/names.ts";
import {
  covers,
  TARGET_PATTERN_FORMS,
  type TargetPattern,
  tryParsePattern,
} from "../../protocol/manage/target_pattern.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import { parseTomlSource, type TomlSource } from "../../system/toml_file.ts";
import { scanKeyLines } from "../../system/toml_lines.ts";

/** What `decide` goes by. */
export interface Policy {
  readonly rules: readonly PolicyRule[];
}

/** One `[[rule]]`. */
export interface PolicyRule {
  /** Names; null: every administrator. */
  readonly admins: ReadonlySet<string> | null;
  /** Null: every host. */
  readonly hosts: HostChoice | null;
  readonly actions: ReadonlySet<Action>;
  /** Of forwards; empty where they are not among the actions. */
  readonly targets: readonly TargetPattern[];
  /** Milliseconds since 1970; that moment itself is still good. Null: no end. */
  readonly untilMs: number | null;
}

/** Hosts by name or by tag. */
export interface HostChoice {
  readonly names: ReadonlySet<string>;
  readonly tags: ReadonlySet<string>;
}

/** Who wants to do what where. */
export interface PolicyQuestion {
  readonly admin: string;
  readonly host: { readonly name: string; readonly tags: readonly string[] };
  readonly action: Action;
  /** As the administrator declared them; empty but for forwards. */
  readonly targets: readonly string[];
}

/** The answer: until when (null: no end), or why not. */
export type PolicyDecision =
  | { readonly allowed: true; readonly untilMs: number | null }
  | { readonly allowed: false; readonly reason: string };

const RULE = "rule";
const RULE_FIELDS = ["admins", "hosts", "actions", "targets", "until"];
const ANY = "*";
const TAG = "tag:";
const ACTIONS: readonly Action[] = ["shell", "exec", "forward"];
const ADMIN_FORMS = `a list of names of administrators, or ["${ANY}"]`;
const HOST_FORMS = `a list of names of hosts and of tags such as "tag:prod", or ["${ANY}"]`;
const ACTION_FORMS = 'a list out of "shell", "exec" and "forward"';
const TARGET_FORMS = `a list of ${TARGET_PATTERN_FORMS}`;
const UNTIL_FORMS = "a date and time with a zone and without quotes, such as 2027-01-31T18:00:00Z";

/**
 * Reads the text of policy.toml.
 *
 * @param path for errors
 * @throws {Failure} naming file, line and field
 */
export function parsePolicy(path: string, text: string): Policy {
  return policyOf(parseTomlSource(path, text));
}

/** Whether this may be done at this moment. */
export function decide(policy: Policy, question: PolicyQuestion, nowMs: number): PolicyDecision {
  const { admin, host, action, targets } = question;
  const rules = policy.rules.filter((rule) => concerns(rule, question));
  const what = `${action} on ${host.name}`;
  if (rules.length === 0) {
    return { allowed: false, reason: `no rule of policy.toml lets ${admin} use ${what}` };
  }
  if (action !== "forward") return lastingLongest(rules, nowMs, `${admin} use ${what}`);
  if (targets.length === 0) {
    return { allowed: false, reason: "a forward without targets is allowed by no rule" };
  }
  let untilMs: number | null = null;
  for (const target of targets) {
    const declared = tryParsePattern(target);
    if (declared === null) return { allowed: false, reason: "a target of the forward is none" };
    const decision = lastingLongest(
      rules.filter((rule) => covers(rule.targets, declared)),
      nowMs,
      `${admin} forward to ${target} on ${host.name}`,
    );
    if (!decision.allowed) return decision;
    untilMs = earlier(untilMs, decision.untilMs);
  }
  return { allowed: true, untilMs };
}

/** Whether some rule that is in force lets this administrator do anything on this host, so that it is shown. */
export function mayUse(
  policy: Policy,
  question: Pick<PolicyQuestion, "admin" | "host">,
  nowMs: number,
): boolean {
  return ACTIONS.some((action) =>
    policy.rules.some((rule) =>
      isInForce(rule, nowMs) && concerns(rule, { ...question, action, targets: [] })
    )
  );
}

function concerns(rule: PolicyRule, { admin, host, action }: PolicyQuestion): boolean {
  if (!rule.actions.has(action)) return false;
  if (rule.admins !== null && !rule.admins.has(admin)) return false;
  return rule.hosts === null || rule.hosts.names.has(host.name) ||
    host.tags.some((tag) => rule.hosts?.tags.has(tag));
}

function isInForce({ untilMs }: PolicyRule, nowMs: number): boolean {
  return untilMs === null || nowMs <= untilMs;
}

/** Until when the last of these rules lets it be done. */
function lastingLongest(rules: readonly PolicyRule[], nowMs: number, what: string): PolicyDecision {
  const inForce = rules.filter((rule) => isInForce(rule, nowMs));
  if (inForce.length === 0) {
    const why = rules.length === 0
      ? "no rule of policy.toml lets"
      : "the rule of policy.toml is over that let";
    return { allowed: false, reason: `${why} ${what}` };
  }
  const ends = inForce.map(({ untilMs }) => untilMs);
  return { allowed: true, untilMs: ends.includes(null) ? null : Math.max(...ends.map((end) => end ?? 0)) };
}

function earlier(a: number | null, b: number | null): number | null {
  return a === null || b === null ? a ?? b : Math.min(a, b);
}

function policyOf(source: TomlSource): Policy {
  const top = new TomlFields(source);
  top.requireKnown([RULE]);
  const rules = top.value(RULE) ?? [];
  if (!Array.isArray(rules)) return top.refuse(RULE, "tables under [[rule]]");
  return {
    rules: rules.map((rule: unknown, index) => {
      if (!isTable(rule)) return top.refuseElement(RULE, rule, "tables under [[rule]]");
      return readRule(new TomlFields(sourceOfRule(source, index), [RULE], rule));
    }),
  };
}

function readRule(rule: TomlFields): PolicyRule {
  rule.requireKnown(RULE_FIELDS);
  const admins = readAdmins(rule);
  const hosts = readHosts(rule);
  const actions = readActions(rule);
  return {
    admins,
    hosts,
    actions,
    targets: readTargets(rule, actions.has("forward")),
    untilMs: readUntil(rule),
  };
}

function readAdmins(rule: TomlFields): Set<string> | null {
  const names = requiredTexts(rule, "admins", ADMIN_FORMS);
  if (names.length === 1 && names[0] === ANY) return null;
  return new Set(names.map((name) => isName(name) ? name : rule.refuseElement("admins", name, NAME_FORM)));
}

function readHosts(rule: TomlFields): HostChoice | null {
  const texts = requiredTexts(rule, "hosts", HOST_FORMS);
  if (texts.length === 1 && texts[0] === ANY) return null;
  const names = new Set<string>();
  const tags = new Set<string>();
  for (const text of texts) {
    const isTag = text.startsWith(TAG);
    const name = isTag ? text.slice(TAG.length) : text;
    if (!isName(name)) rule.refuseElement("hosts", text, `${NAME_FORM}, or ${TAG} and such a name`);
    (isTag ? tags : names).add(name);
  }
  return { names, tags };
}

function readActions(rule: TomlFields): Set<Action> {
  const texts = requiredTexts(rule, "actions", ACTION_FORMS);
  return new Set(
    texts.map((text) =>
      ACTIONS.find((action) => action === text) ?? rule.refuseElement("actions", text, ACTION_FORMS)
    ),
  );
}

/** Asked for with forwards, so that none are allowed to everywhere by a line that is missing; refused without. */
function readTargets(rule: TomlFields, isForward: boolean): TargetPattern[] {
  if (!isForward) {
    if (rule.has("targets")) {
      rule.fail("targets", 'found targets, accepted only with "forward" among the actions');
    }
    return [];
  }
  const texts = requiredTexts(rule, "targets", TARGET_FORMS);
  return texts.map((text) =>
    tryParsePattern(text) ?? rule.refuseElement("targets", text, TARGET_PATTERN_FORMS)
  );
}

function readUntil(rule: TomlFields): number | null {
  const value = rule.value("until");
  if (value === undefined) return null;
  // A local time would mean another moment on a server in another zone, so it is refused, not guessed.
  if (!(value instanceof TomlDate) || value.isLocal() || Number.isNaN(value.getTime())) {
    return rule.fail("until", `found ${describeUntil(value)}, accepted is ${UNTIL_FORMS}`);
  }
  return value.getTime();
}

function describeUntil(value: unknown): string {
  return value instanceof Date ? "a time without a zone" : "no time";
}

/** Every rule says all of who, where and what: a line that was lost must not open what it was to narrow. */
function requiredTexts(rule: TomlFields, name: string, accepted: string): string[] {
  const texts = rule.texts(name, accepted);
  if (texts === undefined || texts.length === 0) return rule.refuse(name, accepted);
  return texts;
}

/** The source with the lines of one rule only: all of them have the same name. */
function sourceOfRule(source: TomlSource, index: number): TomlSource {
  const headers = [...source.text.matchAll(/^[ \t]*\[\[[ \t]*(?:rule|"rule"|'rule')[ \t]*\]\]/gm)];
  const start = headers[index]?.index;
  if (start === undefined) return source; // written as one list
  const linesBefore = source.text.slice(0, start).split("\n").length - 1;
  const lines = scanKeyLines(source.text.slice(start, headers[index + 1]?.index));
  return {
    ...source,
    lineOf(keyPath: readonly string[]): number | undefined {
      const line = lines.get(JSON.stringify(keyPath));
      return line === undefined ? undefined : linesBefore + line;
    },
  };
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
