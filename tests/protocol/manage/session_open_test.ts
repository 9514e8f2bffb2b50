import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeHead } from "../../../src/protocol/manage/audit_head.ts";
import { CHALLENGE_LIFE_MS } from "../../../src/protocol/manage/control_contract.ts";
import { MAX_PARAMETER_BYTES } from "../../../src/protocol/manage/frame.ts";
import { type ResetCode, ResetError } from "../../../src/protocol/manage/reset_code.ts";
import {
  ANSWER_BYTES,
  answerForAdmin,
  answerOpen,
  decodeAnswerForAdmin,
  decodeOpen,
  decodeOpenForHost,
  MAX_OPEN_BYTES,
  MAX_TARGETS,
  type OpenAction,
  type OpenFields,
  openForHost,
  type SessionOpen,
  signOpen,
  verifyAnswer,
  verifyOpen,
} from "../../../src/protocol/manage/session_open.ts";
import vectors from "../../vectors/manage-session.json" with { type: "json" };
import { holds } from "../../property.ts";
import { adminKey, flipped, hex, hostKey, KEYS_OF_NOBODY, strangerKey } from "./manage_identities.ts";

const head = decodeHead(hex(vectors.sessions[0]?.head ?? ""));
const fields: OpenFields = {
  action: "shell",
  outlivesLink: false,
  session: "00112233445566ff",
  hostKey: hostKey.publicKey,
  linkNonce: new Uint8Array(32).fill(1),
  challenge: new Uint8Array(16).fill(2),
  expiresMs: 10_000,
  ephemeral: new Uint8Array(32).fill(3),
  targets: [],
};

function refusedAs(code: ResetCode): (error: unknown) => boolean {
  return (error) => error instanceof ResetError && error.code === code && error.by === "here";
}

function fieldsOf(open: SessionOpen): OpenFields {
  const { adminKey: _key, signature: _signature, bytes: _bytes, ...rest } = open;
  return rest;
}

Deno.test("vectors of sessions were loaded", () => {
  assert(vectors.sessions.length >= 5 && vectors.refusals.length >= 20);
});

for (const vector of vectors.sessions) {
  Deno.test(`decodeOpen() reads the vector "${vector.name}", and signOpen() writes its bytes`, async () => {
    const open = decodeOpen(hex(vector.open));
    assert.deepEqual(
      [open.action, open.outlivesLink, open.session, open.expiresMs, open.targets],
      [vector.action, vector.outlivesLink, vector.session, vector.expiresMs, vector.targets],
    );
    assert.equal(open.linkNonce.toHex(), vector.linkNonce);
    assert.equal(open.challenge.toHex(), vector.challenge);
    assert.equal(open.hostKey.toHex(), hostKey.publicKey.toHex());
    assert.equal(open.adminKey.toHex(), adminKey.publicKey.toHex());
    assert(await verifyOpen(open));
    assert.equal((await signOpen(fieldsOf(open), adminKey)).toHex(), vector.open);
  });

  Deno.test(`decodeOpenForHost() and decodeAnswerForAdmin() read the vector "${vector.name}" and write it again`, async () => {
    const { adminName, head: passed, open } = decodeOpenForHost(hex(vector.forHost));
    assert.equal(adminName, "alice");
    assert.deepEqual(passed, decodeHead(hex(vector.head)));
    assert.equal(openForHost(adminName, passed, open.bytes).toHex(), vector.forHost);

    const { answer, head: answered } = decodeAnswerForAdmin(hex(vector.forAdmin));
    assert.equal(answer.toHex(), vector.answer);
    assert.equal(answerForAdmin(answer, answered).toHex(), vector.forAdmin);
    const ephemeral = await verifyAnswer(open, answer);
    assert.equal((await answerOpen(open.bytes, ephemeral, hostKey)).toHex(), vector.answer);
  });
}

for (const { name, code, open } of vectors.refusals) {
  Deno.test(`decodeOpen() refuses an open with ${name} as ${code}`, () => {
    assert.throws(() => decodeOpen(hex(open)), refusedAs(code as ResetCode));
  });
}

Deno.test("verifyOpen() refuses an open with any bit changed, if decodeOpen() has not", async () => {
  const bytes = hex(vectors.sessions[3]?.open ?? "");
  let decoded = 0;
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    let open: SessionOpen;
    try {
      open = decodeOpen(flipped(bytes, bit));
    } catch (error) {
      assert(error instanceof ResetError && ["malformed", "version"].includes(error.code), String(error));
      continue;
    }
    decoded++;
    assert.equal(await verifyOpen(open), false, `bit ${bit}`);
  }
  assert(decoded > 500);
});

Deno.test("verifyOpen() refuses an open that somebody else has signed, or that has another one's key", async () => {
  const open = decodeOpen(await signOpen(fields, strangerKey));
  assert(await verifyOpen(open));
  assert.equal(await verifyOpen({ ...open, adminKey: adminKey.publicKey }), false);
  const moved = open.bytes.slice();
  moved.set(adminKey.publicKey, 1 + 1 + 1 + 8 + 32);
  assert.equal(await verifyOpen(decodeOpen(moved)), false);
});

Deno.test("verifyAnswer() refuses an answer with any bit changed", async () => {
  const [vector] = vectors.sessions;
  assert(vector !== undefined);
  const open = decodeOpen(hex(vector.open)), answer = hex(vector.answer);
  for (let bit = 0; bit < ANSWER_BYTES * 8; bit++) {
    const code = bit < 8 ? "version" : "authentication";
    await assert.rejects(verifyAnswer(open, flipped(answer, bit)), refusedAs(code), `bit ${bit}`);
  }
});

Deno.test("verifyAnswer() refuses another host's answer, one to another open, and other lengths", async () => {
  const open = decodeOpen(await signOpen(fields, adminKey)), ephemeral = new Uint8Array(32).fill(9);
  assert.deepEqual(await verifyAnswer(open, await answerOpen(open.bytes, ephemeral, hostKey)), ephemeral);
  const others = decodeOpen(await signOpen({ ...fields, expiresMs: 9_999 }, adminKey));
  for (
    const answer of [
      await answerOpen(open.bytes, ephemeral, strangerKey),
      await answerOpen(open.bytes, ephemeral, adminKey),
      await answerOpen(others.bytes, ephemeral, hostKey),
    ]
  ) await assert.rejects(verifyAnswer(open, answer), refusedAs("authentication"));
  const answer = await answerOpen(open.bytes, ephemeral, hostKey);
  for (const each of [answer.subarray(1), answer.subarray(0, 1), new Uint8Array([...answer, 0])]) {
    await assert.rejects(verifyAnswer(open, each), ResetError);
  }
});

Deno.test("an open and an answer are never taken for one another's signature", async () => {
  // The host's key signs over other words: the signature of its answer fits no open in its name.
  const open = decodeOpen(await signOpen(fields, adminKey));
  const answer = await answerOpen(open.bytes, new Uint8Array(32).fill(9), hostKey);
  const forged = { ...open, adminKey: hostKey.publicKey, signature: answer.slice(-64) };
  assert.equal(await verifyOpen(forged), false);
});

Deno.test("signOpen() refuses fields without a form", async () => {
  const wrong: readonly Partial<OpenFields>[] = [
    { session: "0011223344556677ff" },
    { session: "00112233445566FF" },
    { session: "0011" },
    { hostKey: new Uint8Array(31) },
    { hostKey: adminKey.publicKey },
    ...KEYS_OF_NOBODY.map((key) => ({ hostKey: hex(key) })),
    { linkNonce: new Uint8Array(31) },
    { challenge: new Uint8Array(15) },
    { ephemeral: new Uint8Array(33) },
    { expiresMs: 0 },
    { expiresMs: 1.5 },
    { expiresMs: CHALLENGE_LIFE_MS + 1 },
    { expiresMs: NaN },
    { targets: ["a:1"] },
    { action: "exec", outlivesLink: true },
    { action: "forward" },
    { action: "forward", targets: ["a:1"], outlivesLink: true },
    { action: "forward", targets: Array.from({ length: MAX_TARGETS + 1 }, () => "a:1") },
    { action: "forward", targets: [""] },
    { action: "forward", targets: ["a\u001b[2J:1"] },
    { action: "forward", targets: ["é:1"] },
    { action: "forward", targets: [`${"a".repeat(254)}:1`] },
    { action: "forward", targets: Array.from({ length: 16 }, () => `${"a".repeat(253)}:1`) },
  ];
  for (const each of wrong) {
    await assert.rejects(signOpen({ ...fields, ...each }, adminKey), TypeError, Object.entries(each).join());
  }
});

Deno.test("openForHost() has room for the longest open, and refuses a name that is none", async () => {
  const targets = Array.from({ length: 14 }, () => `${"a".repeat(253)}:1`);
  let open = await signOpen({ ...fields, action: "forward", targets }, adminKey);
  const left = MAX_OPEN_BYTES - open.length - 1;
  open = await signOpen(
    { ...fields, action: "forward", targets: [...targets, `${"a".repeat(left - 2)}:1`] },
    adminKey,
  );
  assert.equal(open.length, MAX_OPEN_BYTES);
  const passed = openForHost("b".repeat(64), head, open);
  assert.equal(passed.length, MAX_PARAMETER_BYTES);
  assert.equal(decodeOpenForHost(passed).open.bytes.toHex(), open.toHex());
  for (const name of ["", "Alice", "a b", "a\n", "b".repeat(65), "-a"]) {
    assert.throws(() => openForHost(name, head, open), TypeError);
  }
});

Deno.test("decodeOpenForHost() refuses a name that is none", async () => {
  const open = await signOpen(fields, adminKey), good = openForHost("bob", head, open);
  for (const name of ["BOB", "b\u001bb", "b b", "..."]) {
    const bad = good.slice();
    bad.set(new TextEncoder().encode(name.slice(0, 3)), 1);
    assert.throws(() => decodeOpenForHost(bad), refusedAs("malformed"), name);
  }
  assert.throws(() => decodeOpenForHost(good.subarray(0, 100)), refusedAs("malformed"));
});

Deno.test("decodeAnswerForAdmin() refuses other lengths", () => {
  const good = hex(vectors.sessions[0]?.forAdmin ?? "");
  for (const each of [new Uint8Array(0), good.subarray(1), new Uint8Array([...good, 0])]) {
    assert.throws(() => decodeAnswerForAdmin(each), refusedAs("malformed"));
  }
});

Deno.test("decodeOpen() refuses any bytes or reads what signOpen() writes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<OpenAction>("shell", "exec", "forward", "attach"),
      fc.boolean(),
      fc.integer({ min: 1, max: CHALLENGE_LIFE_MS }),
      fc.array(fc.stringMatching(/^[\x21-\x7e]{1,60}$/), { minLength: 1, maxLength: MAX_TARGETS }),
      async (action, outlives, expiresMs, patterns) => {
        const made: OpenFields = {
          ...fields,
          action,
          outlivesLink: outlives && (action === "shell" || action === "attach"),
          expiresMs,
          targets: action === "forward" ? patterns : [],
        };
        const open = decodeOpen(await signOpen(made, adminKey));
        assert.deepEqual(fieldsOf(open), made);
        assert(await verifyOpen(open));
      },
    ),
    { numRuns: 60 },
  );
  const seed = hex(vectors.sessions[3]?.open ?? "");
  holds(fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(seed.length), (noise, at) => {
    const bytes = new Uint8Array([...seed.subarray(0, at), ...noise]);
    try {
      assert.equal(decodeOpen(bytes).bytes.toHex(), bytes.toHex());
    } catch (error) {
      assert(error instanceof ResetError, String(error));
    }
  }));
});
