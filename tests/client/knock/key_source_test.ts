import assert from "node:assert/strict";
import { type KeyArguments, type KeyReading, readKey } from "../../../src/client/knock/key_source.ts";
import { formatKey, generateKey, type Key } from "../../../src/protocol/knock/key.ts";
import { Failure, UsageFailure } from "../../../src/system/failure.ts";
import { TempFolder } from "./temp_folder.ts";

const KEY = generateKey();
const TEXT = formatKey(KEY);

/** Reads with a standard input that gives `chunks` and then, if it `ends`, the end; else it fails the test. */
async function read(
  source: Partial<KeyArguments>,
  input: { chunks?: readonly string[]; typed?: string; ends?: boolean } = {},
): Promise<{ key: Key; notices: string[] }> {
  const { chunks = [], typed, ends = true } = input;
  const notices: string[] = [];
  const rest = chunks.map((chunk) => new TextEncoder().encode(chunk));
  const reading: KeyReading = {
    stdin: {
      read(buffer: Uint8Array): Promise<number | null> {
        const chunk = rest.shift();
        if (chunk === undefined) {
          assert(ends, "read on although the key was there");
          return Promise.resolve(null);
        }
        buffer.set(chunk.subarray(0, buffer.length));
        return Promise.resolve(Math.min(chunk.length, buffer.length));
      },
    },
    askOnTerminal: () => typed === undefined ? null : Promise.resolve(typed),
    notice: (text) => notices.push(text),
  };
  const key = await readKey({ key: undefined, keyFile: undefined, ...source }, reading);
  return { key, notices };
}

Deno.test("readKey() takes the key from the command line with a hint that it can be seen there", async () => {
  const { key, notices } = await read({ key: TEXT });
  assert.deepEqual(key, KEY);
  assert.equal(notices.length, 1);
  assert.match(notices[0] ?? "", /^hint: -k KEY shows the key .*-k - or -K FILE/);
});

Deno.test("readKey() reads standard input to its end, in pieces and with white space around it", async () => {
  const { key, notices } = await read({ key: "-" }, {
    chunks: ["  ", TEXT.slice(0, 7), TEXT.slice(7), "\r\n"],
  });
  assert.deepEqual(key, KEY);
  assert.deepEqual(notices, []);
});

Deno.test("readKey() asks on a terminal instead of reading standard input", async () => {
  const { key, notices } = await read({ key: "-" }, { typed: ` ${TEXT}`, ends: false });
  assert.deepEqual(key, KEY);
  assert.deepEqual(notices, []);
  await assert.rejects(read({ key: "-" }, { typed: "SECRET", ends: false }), Failure);
});

Deno.test("readKey() refuses a key where the name of a file belongs, without repeating it", async () => {
  for (const keyFile of [TEXT, `${TEXT}\n`]) {
    await assert.rejects(read({ keyFile }), (error) => {
      assert(error instanceof UsageFailure && error.hint !== undefined);
      assert(!`${error.message} ${error.hint}`.includes(TEXT.slice(0, 8)));
      assert.match(error.hint, /^that looks like a key itself: use -k - or put it in a file$/);
      return true;
    });
  }
});

Deno.test("readKey() refuses a second line and input without end, and repeats nothing of them", async () => {
  const inputs = [
    { chunks: [`${TEXT}\n`, "SECRET\n"] },
    { chunks: Array<string>(50).fill("SECRET".repeat(100)), ends: false },
  ];
  for (const input of inputs) {
    await assert.rejects(
      read({ key: "-" }, input),
      (error) =>
        error instanceof Failure && !error.message.includes("SECRET") &&
        error.message.includes("standard input"),
    );
  }
});

Deno.test("readKey() reads a file, and warns of one that others may read", async () => {
  using folder = new TempFolder();
  const keyFile = `${folder.path}/user.key`;
  await Deno.writeTextFile(keyFile, `${TEXT}\n`, { mode: 0o600 });
  const closed = await read({ keyFile });
  assert.deepEqual(closed, { key: KEY, notices: [] });
  await Deno.chmod(keyFile, 0o644);
  const open = await read({ keyFile });
  assert.equal(open.notices.length, 1);
  assert.match(open.notices[0] ?? "", /chmod 600/);
});

Deno.test("readKey() refuses none and two sources", async () => {
  await assert.rejects(read({}), UsageFailure);
  await assert.rejects(read({ key: TEXT, keyFile: "user.key" }), UsageFailure);
});

const isRoot = Deno.build.os === "linux" && Deno.uid() === 0;

Deno.test({
  name: "readKey() does not have a server's copy closed to the server" +
    (isRoot ? "" : " (ignored: needs root, whose file it must be)"),
  ignore: !isRoot,
  async fn(): Promise<void> {
    using folder = new TempFolder();
    const keyFile = `${folder.path}/user.key`;
    await Deno.writeTextFile(keyFile, TEXT);
    for (const [mode, count] of [[0o640, 0], [0o600, 0], [0o660, 1], [0o644, 1], [0o604, 1]] as const) {
      await Deno.chmod(keyFile, mode);
      assert.equal((await read({ keyFile })).notices.length, count, mode.toString(8));
    }
    await Deno.chown(keyFile, 1000, 1000);
    await Deno.chmod(keyFile, 0o640);
    assert.equal((await read({ keyFile })).notices.length, 1);
  },
});
