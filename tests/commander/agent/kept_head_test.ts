import assert from "node:assert/strict";
import { type HeadStore, KeptHead } from "../../../src/commander/agent/kept_head.ts";
import { signHead } from "../../../src/protocol/manage/audit_head.ts";
import type { SignedHead } from "../../../src/protocol/manage/control_contract.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { Log } from "../../../src/system/log.ts";

const server = await SigningKey.generate(systemRandomBytes);
const stranger = await SigningKey.generate(systemRandomBytes);

function head(number: number, fill = number, key = server): Promise<SignedHead> {
  return signHead({ number, hash: new Uint8Array(32).fill(fill) }, key);
}

/** A kept head in memory, and the lines that it logs. */
async function kept(
  first: SignedHead | null = null,
): Promise<{ kept: KeptHead; store: HeadStore & { head: SignedHead | null }; lines: string[] }> {
  const lines: string[] = [];
  const store = {
    head: first,
    readHead: () => Promise.resolve(store.head),
    writeHead: (head: SignedHead) => {
      store.head = head;
      return Promise.resolve();
    },
  };
  const log = new Log({ role: "agent", format: "text", write: (line) => void lines.push(line) });
  return { kept: await KeptHead.open(store, server.publicKey, log), store, lines };
}

Deno.test("KeptHead keeps the newest head, in whatever order they come on one link", async () => {
  const { kept: one, store, lines } = await kept();
  for (const number of [1, 3, 2, 5, 4, 5]) await one.take(await head(number));
  assert.equal(store.head?.number, 5);
  assert.equal(one.newest?.number, 5);
  assert.deepEqual(lines, []);
});

Deno.test("KeptHead notices a lower number on a later link, and keeps what it has", async () => {
  const { kept: one, store, lines } = await kept();
  await one.take(await head(5));
  one.linkBegan();
  await one.take(await head(4));
  assert.equal(store.head?.number, 5);
  assert.match(
    lines.join(""),
    /WARN agent: the server's audit was rewound: keep the file head number=4 known=5 suppressed=0\n$/,
  );
});

Deno.test("KeptHead notices another hash under a number that it knows, also after a restart", async () => {
  const { kept: one, store, lines } = await kept();
  await one.take(await head(5));
  await one.take(await head(6));
  await one.take(await head(5, 99));
  assert.equal(lines.length, 1);
  const { kept: next, lines: later } = await kept(store.head);
  await next.take(await head(6, 99));
  assert.match(later.join(""), /rewound/);
  assert.equal(next.newest?.hash[0], 6);
});

Deno.test("KeptHead passes over what the server has not signed", async () => {
  const { kept: one, store, lines } = await kept(await head(900, 1, stranger));
  assert.equal(one.newest, null);
  await one.take(await head(7, 7, stranger));
  assert.equal(one.newest, null);
  assert.match(lines.join(""), /not signed by the server/);
  await one.take(await head(1));
  assert.equal(store.head?.number, 1);
});
