/** What `--json` prints, held against the schema in docs/, and the last line against how it ended. */
import assert from "node:assert/strict";
// The schema is of draft 2020-12, which the package's main module does not know.
import { Ajv2020 } from "ajv/dist/2020.js";
import schema from "../../docs/transfer-events.schema.json" with { type: "json" };
import { TRANSFER_ERROR_CODES } from "../../src/protocol/transfer/errors.ts";
import type { TransferEvent } from "../../src/protocol/transfer/events.ts";
import { type Program, TransferPlace, writeRandom } from "./transfer_programs.ts";

const TIMEOUT_MS = 60_000;
const validate = new Ajv2020({ strict: true, allErrors: true }).compile(schema);

/** Every line is one of the schema's, the last one is an end, and no other is. */
function checked(program: Program): Record<string, unknown>[] {
  assert(program.stdout.endsWith("\n"));
  const lines = program.events;
  for (const line of lines) {
    assert(validate(line), `${JSON.stringify(line)}: ${JSON.stringify(validate.errors)}`);
  }
  const ends = lines.map((line) => "result" in line || "error" in line);
  assert.deepEqual(ends, lines.map((_line, i) => i === lines.length - 1));
  return lines;
}

function names(lines: readonly Record<string, unknown>[]): unknown[] {
  // `waiting` depends on who is faster, the number of `progress` on the machine.
  const told = lines.map((line) => line["event"] ?? Object.keys(line)[0]).filter((name) =>
    name !== "waiting"
  );
  return told.filter((name, i) => name !== "progress" || told[i - 1] !== "progress");
}

function last(lines: readonly Record<string, unknown>[]): Record<string, unknown> {
  return lines.at(-1) ?? {};
}

/** The code, as a program reads it. */
async function codeOf(sender: Program): Promise<string> {
  const [, code = ""] = await sender.says("stdout", /^\{"event":"code","code":"([0-9a-z-]+)"\}$/m);
  return code;
}

function jsonTest(
  name: string,
  run: (place: TransferPlace) => Promise<void>,
  relayWords: string[] = [],
): void {
  Deno.test({
    name,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      await using place = await TransferPlace.make(relayWords);
      await run(place);
    },
  });
}

jsonTest("--json of a folder: every line fits the schema, on both sides", async (place) => {
  await Deno.mkdir(`${place.out}/d`);
  await Deno.writeTextFile(`${place.out}/d/a`, "12345");
  await Deno.writeTextFile(`${place.out}/d/b`, "");
  await using sender = await place.share(["d", "--json"]);
  await using receiver = await place.receive([await codeOf(sender), "--yes", "--json", "-o", "inbox"]);
  await receiver.ends(0);
  await sender.ends(0);
  const [sent, received] = [checked(sender), checked(receiver)];
  assert.equal(sender.stderr + receiver.stderr, "");
  assert.deepEqual(last(sent), { result: "shared", receivers: 1 });
  assert.deepEqual(last(received), { result: "files", folder: "inbox", paths: ["inbox/d"] });
  assert.deepEqual(names(sent), ["code", "paired", "offer", "accepted", "progress", "done", "result"]);
  const offer = received.find((line) => line["event"] === "offer")?.["offer"] as {
    entries: { path: string; kind: string; sizeBytes: number }[];
  };
  assert.deepEqual(offer.entries.map(({ path, kind, sizeBytes }) => [path, kind, sizeBytes]), [
    ["d", "folder", 0],
    ["d/a", "file", 5],
    ["d/b", "file", 0],
  ]);
  const done = received.filter((line) => line["event"] === "file_done").map((line) => line["file"]);
  assert.deepEqual(done, [1, 2]);
});

jsonTest("--json of a text: the text is in the last line, whatever is in it", async (place) => {
  const text = 'one\n"two"\x1b[2J postern client send\x9b31m\u202e\x7f';
  await using sender = await place.share(["--text", text, "--json"]);
  await using receiver = await place.receive([await codeOf(sender), "--yes", "--json"]);
  await receiver.ends(0);
  await sender.ends(0);
  checked(sender);
  assert.deepEqual(last(checked(receiver)), { result: "text", text });
  // It may be a terminal that reads it.
  assert.match(receiver.stdout, /^[\n -~]*$/);
});

jsonTest("--json of a transfer that is interrupted and goes on", async (place) => {
  await writeRandom(`${place.out}/big`, 4_000_000);
  await using sender = await place.share(["big", "--json"]);
  const code = await codeOf(sender);
  await using receiver = await place.receive([code, "--yes", "--json"]);
  await receiver.says("stdout", /"event":"progress".*"receivedBytes":[1-9][0-9]{6}/);
  receiver.kill("SIGTERM");
  await receiver.ends(1);
  const broken = checked(receiver);
  assert.deepEqual(names(broken).slice(-2), ["failed", "error"]);
  assert.deepEqual(broken.at(-2), { event: "failed", reason: "cancelled" });
  assert.match(String(last(broken)["error"]), /^the transfer was interrupted by SIGTERM$/);

  await using again = await place.receive([code, "--yes", "--json"]);
  await again.ends(0);
  await sender.ends(0);
  const resumed = checked(again);
  assert.equal(resumed.find((line) => line["event"] === "paired")?.["resumed"], true);
  const accepted = resumed.find((line) => line["event"] === "accepted");
  const total = (await Deno.stat(`${place.out}/big`)).size;
  assert(Number(accepted?.["missingBytes"]) < total, JSON.stringify(accepted));
  assert(names(checked(sender)).includes("interrupted"));
}, ["--rate", "2000000"]);

jsonTest(
  "--json of a wrong code: the reason for programs, then the failure for people, without the code",
  async (place) => {
    await using sender = await place.share(["--text", "x", "--json"]);
    const code = await codeOf(sender);
    await using receiver = await place.receive([`${code.split("-")[0]}-zebra-zero-zone`, "--yes", "--json"]);
    await receiver.ends(1);
    await sender.ends(1);
    for (const program of [sender, receiver]) {
      const lines = checked(program);
      assert.deepEqual(lines.at(-2), { event: "failed", reason: "mismatch" });
      assert.match(String(last(lines)["error"]), /^the code does not match/);
      assert.doesNotMatch(JSON.stringify(lines.slice(1)), /zebra/);
      assert(!JSON.stringify(lines.slice(1)).includes(code));
    }
  },
);

Deno.test("the schema refuses what is no line of a transfer", () => {
  const wrong: unknown[] = [
    {},
    { event: "unheard" },
    { event: "waiting", more: 1 },
    { event: "code", code: "4815-ocean" },
    { event: "accepted", receiver: 0, missingBytes: 1 },
    { event: "accepted", receiver: 1, missingBytes: -1 },
    { event: "failed", reason: "because" },
    { result: "files", paths: [1], folder: "." },
    { error: "x" },
    { event: "done", receiver: 1, result: "shared", receivers: 1 },
  ];
  for (const line of wrong) assert(!validate(line), JSON.stringify(line));
});

/** One of each, so that the compiler tells when an event or a reason is added and the schema is not. */
const EVENTS: Readonly<Record<TransferEvent["event"], TransferEvent>> = {
  code: { event: "code", code: "481516-ocean-rabbit-velvet" },
  waiting: { event: "waiting" },
  paired: { event: "paired", receiver: 1, resumed: false },
  offer: { event: "offer", receiver: 1, offer: { kind: "text", entries: [entry()], totalBytes: 1 } },
  accepted: { event: "accepted", receiver: 2, missingBytes: 0 },
  progress: { event: "progress", receiver: 1, receivedBytes: 1, file: 0, fileBytes: 1 },
  file_done: { event: "file_done", receiver: 1, file: 0 },
  interrupted: { event: "interrupted", receiver: 1, reason: "lost", message: "x" },
  done: { event: "done", receiver: 1 },
  receiver_failed: { event: "receiver_failed", receiver: 1, reason: "hash", message: "x" },
};
function entry(): { kind: "file"; path: string; sizeBytes: number; modifiedMs: number; mode: number } {
  return { kind: "file", path: "text", sizeBytes: 1, modifiedMs: -1, mode: 0o777 };
}

Deno.test("the schema knows every event and every reason", () => {
  for (const event of Object.values(EVENTS)) assert(validate(event), JSON.stringify(validate.errors));
  assert.deepEqual(schema.$defs.reason.enum.toSorted(), TRANSFER_ERROR_CODES.toSorted());
});
