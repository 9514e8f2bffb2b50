import assert from "node:assert/strict";
import { differences, type Outcome, parseSession, type RunStep } from "./session.ts";

const GOOD = `
$ client gen --key-file user.key
allow --allow-write
exit 0
out| one
out| two
err= hint: three
err~ ^fo+ur$
datagrams 1
file user.key 0600 56
nofile other
`;

const OUTCOME: Outcome = {
  exit: 0,
  stdout: "one\ntwo\n",
  stderr: "hint: three\nfoour\n",
  datagramBytes: [94],
  files: { "user.key": { mode: 0o600, bytes: 56 }, other: null },
};

function onlyRun(text: string): RunStep {
  const [step, ...more] = parseSession(text, {});
  assert(step?.kind === "run" && more.length === 0);
  return step;
}

Deno.test("differences() finds nothing where all is as expected", () => {
  assert.deepEqual(differences(onlyRun(GOOD), OUTCOME), []);
});

const WRONG: Record<string, Partial<Outcome>> = {
  "another exit code": { exit: 1 },
  "a missing line on standard output": { stdout: "one\n" },
  "a line end that is missing": { stdout: "one\ntwo" },
  "more on standard output": { stdout: "one\ntwo\nthree\n" },
  "a missing line on standard error": { stderr: "hint: three\n" },
  "more on standard error": { stderr: "hint: three\nfoour\nfive\n" },
  "a line that does not match": { stderr: "hint: three\nfive\n" },
  "no datagram": { datagramBytes: [] },
  "a second datagram": { datagramBytes: [94, 94] },
  "a longer datagram": { datagramBytes: [95] },
  "another mode": { files: { ...OUTCOME.files, "user.key": { mode: 0o644, bytes: 56 } } },
  "another length": { files: { ...OUTCOME.files, "user.key": { mode: 0o600, bytes: 57 } } },
  "a missing file": { files: { ...OUTCOME.files, "user.key": null } },
  "a file that must not be": { files: { ...OUTCOME.files, other: { mode: 0o600, bytes: 0 } } },
};
for (const [name, change] of Object.entries(WRONG)) {
  Deno.test(`differences() finds ${name}`, () => {
    assert.equal(differences(onlyRun(GOOD), { ...OUTCOME, ...change }).length, 1);
  });
}

Deno.test("a step that expects no output finds any", () => {
  const step = onlyRun("$ client gen\nallow none\nexit 0\n");
  const silent: Outcome = { exit: 0, stdout: "", stderr: "", datagramBytes: [], files: {} };
  assert.deepEqual(differences(step, silent), []);
  assert.equal(differences(step, { ...silent, stdout: "x" }).length, 1);
  assert.equal(differences(step, { ...silent, stderr: "x\n" }).length, 1);
});

Deno.test("parseSession() refuses lines it does not know, and steps without permissions or exit code", () => {
  for (
    const text of ["$ a\nexit 0", "$ a\nallow none", "$ a\nallow none\nexit 0\nerr x", "exit 0", "write x"]
  ) {
    assert.throws(() => parseSession(text, {}), text);
  }
});

Deno.test("parseSession() fills in variables and keeps quoted words together", () => {
  assert.deepEqual(
    parseSession("write a/b 0644\n| k={KEY} {UNKNOWN}\n$ x 'a b' {KEY} ''\nallow none\nexit 2\n", {
      KEY: "K",
    })
      .map((step) => step.kind === "write" ? step.text : step.words),
    ["k=K {UNKNOWN}\n", ["x", "a b", "K", ""]],
  );
});
