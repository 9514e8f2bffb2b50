import assert from "node:assert/strict";
import { AuditHeads } from "../../../src/client/manage/audit_heads.ts";
import type { ManageFolder } from "../../../src/client/manage/manage_folder.ts";
import { decodeHead, signHead } from "../../../src/protocol/manage/audit_head.ts";
import type { SignedHead } from "../../../src/protocol/manage/control_contract.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { modeOf, temporaryFolder } from "./temporary_manage_folder.ts";

const server = await SigningKey.generate(systemRandomBytes);

function head(number: number, hash = number): Promise<SignedHead> {
  return signHead({ number, hash: new Uint8Array(32).fill(hash) }, server);
}

/** Takes heads over one link; gives what was said. */
async function overLink(folder: ManageFolder, heads: readonly SignedHead[]): Promise<string[]> {
  const notices: string[] = [];
  const kept = new AuditHeads(folder, server.publicKey, (line) => notices.push(line));
  for (const each of heads) await kept.take(each);
  await kept.kept;
  return notices;
}

async function keptNumber(folder: ManageFolder): Promise<number> {
  return decodeHead(Uint8Array.fromHex((await Deno.readTextFile(folder.headPath)).trimEnd())).number;
}

Deno.test("AuditHeads keeps the newest head, in whatever order they come", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  assert.deepEqual(await overLink(folder, [await head(3), await head(7), await head(5)]), []);
  assert.equal(await keptNumber(folder), 7);
  assert.equal(await modeOf(folder.headPath), 0o600);
  assert.deepEqual(await overLink(folder, [await head(7), await head(8)]), []);
  assert.equal(await keptNumber(folder), 8);
});

Deno.test("AuditHeads keeps nothing of an empty audit", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  assert.deepEqual(await overLink(folder, [await head(0)]), []);
  await assert.rejects(Deno.stat(folder.headPath), Deno.errors.NotFound);
});

Deno.test("AuditHeads warns of a rewound audit, says what to do, and keeps the evidence", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  await overLink(folder, [await head(9)]);
  const notices = await overLink(folder, [await head(4), await head(5), await head(12)]);
  assert.equal(notices.length, 1);
  assert.match(
    notices[0] ?? "",
    /^warning: the server's audit was changed or rewound: it ends with row 4, and had row 9 before; give .*head to its operator, for postern server manage audit --verify --head FILE$/,
  );
  assert.equal(await keptNumber(folder), 9);
});

Deno.test("AuditHeads warns of another row with the same number, on one link and over several", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const notices = await overLink(folder, [await head(9), await head(9, 1)]);
  assert.match(notices.join(), /its row 9 is another one than before/);
  await overLink(folder, [await head(9)]);
  assert.match((await overLink(folder, [await head(9, 2)])).join(), /its row 9 is another one than before/);
});

Deno.test("AuditHeads is not fooled by another command that was faster", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const slow = new AuditHeads(folder, server.publicKey, assert.fail);
  await overLink(folder, [await head(20)]);
  await slow.take(await head(19));
  await slow.kept;
  assert.equal(await keptNumber(folder), 20);
});

Deno.test("AuditHeads refuses a head that the server's key has not signed", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const other = await SigningKey.generate(systemRandomBytes);
  const forged = await signHead({ number: 1, hash: new Uint8Array(32).fill(1) }, other);
  const heads = new AuditHeads(folder, server.publicKey, assert.fail);
  await assert.rejects(heads.take(forged), { code: "malformed" });
  await heads.kept;
  await assert.rejects(Deno.stat(folder.headPath), Deno.errors.NotFound);
});

Deno.test("AuditHeads writes a file that holds no head anew, with a warning", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  await Deno.writeTextFile(folder.headPath, "nothing\n");
  const notices = await overLink(folder, [await head(2)]);
  assert.match(notices[0] ?? "", /head holds no head of an audit, and will be written anew$/);
  assert.equal(await keptNumber(folder), 2);
});
