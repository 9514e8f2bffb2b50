/** SPAKE2 beside Debian's python3-spake2, live: one exchange after the other over the pipes of a child. */
import assert from "node:assert/strict";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { Spake2 } from "../../../src/protocol/transfer/spake2.ts";
import { succeeds, unless } from "../../e2e/machine.ts";

const PYTHON = "/usr/bin/python3";
const PEER = new URL("../../reference/transfer_spake2_peer.py", import.meta.url).pathname;
const TIMEOUT_MS = 30_000;
const obstacle = await succeeds(PYTHON, ["-c", "import spake2"]) ? null : "needs python3-spake2";

/** A side in Python. */
class PythonSide implements AsyncDisposable {
  readonly #child = new Deno.Command(PYTHON, { args: [PEER], stdin: "piped", stdout: "piped" }).spawn();
  readonly #input = this.#child.stdin.getWriter();
  readonly #output = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  #text = "";

  async say(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  async hear(): Promise<string> {
    while (!this.#text.includes("\n")) {
      const { value } = await this.#output.read();
      assert(value !== undefined, "the child has ended");
      this.#text += value;
    }
    const end = this.#text.indexOf("\n");
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    return line;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close();
    await this.#output.cancel();
    await this.#child.status;
  }
}

const hexOf = (text: string): string => new TextEncoder().encode(text).toHex();

function here(password: string, id: string): Spake2 {
  return new Spake2(Uint8Array.fromHex(hexOf(password)), Uint8Array.fromHex(hexOf(id)), systemRandomBytes);
}

async function begin(there: PythonSide, password: string, id: string): Promise<string> {
  await there.say(`${hexOf(password)} ${hexOf(id)}`);
  return await there.hear();
}

Deno.test({
  ...unless(
    obstacle,
    "Spake2 and python-spake2 agree on a key, whoever speaks first and in both orders of elements",
  ),
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using there = new PythonSide();
    const orders = new Set<boolean>();
    // The order of the elements is that of chance: 24 times the same one would be a wonder.
    for (let round = 0; round < 24; round++) {
      const side = here("ocean-rabbit-velvet", `id ${round}`);
      const theirs = await begin(there, "ocean-rabbit-velvet", `id ${round}`);
      const finishesFirst = round % 2 === 0;
      if (!finishesFirst) await there.say(side.message.toHex());
      const key = side.finish(Uint8Array.fromHex(theirs)).toHex();
      if (finishesFirst) await there.say(side.message.toHex());
      assert.equal(await there.hear(), key);
      orders.add(side.message.toHex() < theirs);
    }
    assert.equal(orders.size, 2);
  },
});

Deno.test({
  ...unless(obstacle, "Spake2 and python-spake2 have no key in common when password or id differ"),
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using there = new PythonSide();
    for (const [password, id] of [["a-b-d", "id"], ["a-b-c", "ie"], ["", "id"], ["a-b-c", ""]] as const) {
      const side = here("a-b-c", "id");
      const theirs = await begin(there, password, id);
      await there.say(side.message.toHex());
      const key = await there.hear();
      assert.equal(key.length, 64);
      assert.notEqual(key, side.finish(Uint8Array.fromHex(theirs)).toHex());
    }
  },
});

Deno.test({
  ...unless(obstacle, "python-spake2 refuses its own message, and is refused nothing by Spake2"),
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using there = new PythonSide();
    const theirs = await begin(there, "a-b-c", "id");
    await there.say(theirs);
    assert.equal(await there.hear(), "refused");
    assert.equal(here("a-b-c", "id").finish(Uint8Array.fromHex(theirs)).length, 32);
  },
});
