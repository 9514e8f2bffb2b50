/**
 * A server that was broken into, between an administrator and a host: what goes through it can neither be read nor
 * changed. The host is a real process; the administrator's program is its code in this process.
 */
import assert from "node:assert/strict";
import { exec } from "../../src/client/manage/exec.ts";
import { RecordOpener } from "../../src/protocol/record/record.ts";
import { joinBytes } from "../../src/protocol/manage/byte_fields.ts";
import { SessionExchange, sessionKeys } from "../../src/protocol/manage/session_keys.ts";
import { decodeOpen } from "../../src/protocol/manage/session_open.ts";
import { systemRandomBytes as random } from "../../src/protocol/rpc/timers.ts";
import type { Tamper } from "./manage_hostile_wire.ts";
import { HostileWorld, onHostileStage } from "./manage_hostile_world.ts";
import { textOf as fileText, until } from "./until.ts";

/** Time for a line to come back from the host. */
const ECHO_MS = 400;
const EXCHANGE_KEY_AT = 1, EXCHANGE_KEY_END = 33;

/** One record of the beginning, and one in the middle. */
const AT = [0, 2] as const;

const WAYS: Readonly<Record<string, (at: number) => Tamper>> = {
  changed: (at) => (record, index, { on }) => on(index === at ? flipped(record, record.length - 1) : record),
  "changed in its length": (at) => (record, index, { on }) => on(index === at ? flipped(record, 3) : record),
  dropped: (at) => async (record, index, { on }) => {
    if (index !== at) await on(record);
  },
  repeated: (at) => async (record, index, { on }) => {
    await on(record);
    if (index === at) await on(record);
  },
  "sent after the one behind it": (at) => {
    let held: Uint8Array | null = null;
    return async (record, index, { on }) => {
      if (index === at) return void (held = record);
      await on(record);
      if (held !== null) await on(held);
      held = null;
    };
  },
  "sent back to where it came from": (at) => async (record, index, { on, back }) => {
    await (index === at ? back(record) : on(record));
  },
  "the last one that arrives, before an end that nobody wrote":
    (at) => async (record, index, { on, end }) => {
      if (index <= at) await on(record);
      if (index === at) await end();
    },
};

onHostileStage(
  "a server that was broken into can neither read nor change what goes through it",
  ["the stage is good: what passes untouched arrives", async (world) => {
    const { result, hasRun, hasReadAll } = await tampered(world, {});
    assert.deepEqual(result, { printed: "0\n1\n2\n3\n4\n", exitCode: 0 });
    assert(hasRun && hasReadAll);
  }],
  ...tamperings(),
  ["what it records holds nothing of what was said, and none of its keys opens any of it", recording],
);

function flipped(bytes: Uint8Array, at: number): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

interface Outcome {
  /** What the program on the host has printed, as alice got it, and its exit code; or the failure. */
  readonly result: { readonly printed: string; readonly exitCode?: number; readonly failure?: string };
  /** Whether the program was begun at all. */
  readonly hasRun: boolean;
  /** Whether it found the end of its input. */
  readonly hasReadAll: boolean;
  /** Why alice's end was closed. */
  readonly closed: string;
  readonly session: string;
}

/** A program that repeats what it is told, line by line, through a server that does what it likes. */
async function tampered(world: HostileWorld, wiles: HostileWorld["server"]["wiles"]): Promise<Outcome> {
  world.server.wiles = wiles;
  const mark = `${world.lab.folder}/mark-${crypto.randomUUID()}`;
  const link = await world.connect();
  const session = await world.open(link);
  let printed = "", line = 0;
  const result = await exec(session, {
    host: "web1",
    command: ["sh", "-c", `: > '${mark}'; cat && : > '${mark}.end'`],
    stdin: {
      async read(buffer): Promise<number | null> {
        // One line, one record, each way; but what is tampered with has no echo.
        await until("the echo", () => printed.length === 2 * line, { timeoutMs: ECHO_MS }).catch(() => {});
        if (line === 5) return null;
        return new TextEncoder().encodeInto(`${line++}\n`, buffer).written;
      },
    },
    onStdout: (bytes) => void (printed += new TextDecoder().decode(bytes)),
    onStderr: () => {},
    signal: AbortSignal.timeout(10_000),
  }).then(
    (exitCode) => ({ printed, exitCode }),
    (error: unknown) => ({ printed, failure: error instanceof Error ? error.message : String(error) }),
  );
  session.peer.close();
  const { reason } = await session.peer.closed;
  await link.leave();
  const [hasRun, hasReadAll] = [
    await fileText(mark) !== undefined,
    await fileText(`${mark}.end`) !== undefined,
  ];
  return { result, hasRun, hasReadAll, closed: reason, session: session.session };
}

/** Each way, in each direction, early and late. */
function tamperings(): (readonly [string, (world: HostileWorld) => Promise<void>])[] {
  return (["toHost", "toAdmin"] as const).flatMap((direction) =>
    Object.entries(WAYS).map(([way, tamper]) =>
      [
        `a record ${
          direction === "toHost" ? "to the host" : "from the host"
        } that is ${way} ends the session`,
        async (world: HostileWorld): Promise<void> => {
          for (const at of AT) await endsTheSession(world, direction, way, tamper(at), at);
        },
      ] as const
    )
  );
}

async function endsTheSession(
  world: HostileWorld,
  direction: "toHost" | "toAdmin",
  way: string,
  tamper: Tamper,
  at: number,
): Promise<void> {
  const outcome = await tampered(world, { [direction]: tamper });
  const { result, hasRun, hasReadAll, closed, session } = outcome;
  const isCutOff = way.includes("end"), reachesHost = (direction === "toHost") !== way.includes("back");
  const what = `${direction} ${way} ${at}: ${JSON.stringify(outcome)}`;
  assert.equal(result.exitCode, undefined, what);
  // What arrived before is what was sent, from its beginning on; nothing behind the fault was let through.
  assert("0\n1\n2\n3\n4\n".startsWith(result.printed), what);
  const isReleased = way === "repeated" || isCutOff;
  if (direction === "toHost" && at === 0 && !isReleased) assert(!hasRun, what);
  if (isCutOff) assert.equal(closed, "lost", what);
  else if (!reachesHost) assert.equal(closed, "tampered", what);
  else await world.logged("web1", "session tampered with", new RegExp(session));
  const row = await until(
    "the host tells that the session is over",
    () => world.server.host("web1").ended.find((row) => row.session === session),
  );
  // What comes from the host is changed behind a program that may have come to its end by itself.
  if (direction === "toHost" && reachesHost) {
    assert.equal(row.ending, "lost", what);
    assert(!hasReadAll, what);
  }
}

/** All that the server had of a session, against all that it knows. */
async function recording(world: HostileWorld): Promise<void> {
  const { server } = world;
  // What alice's program draws, of which the server sees only public keys: for the counter-check.
  const drawn: Uint8Array<ArrayBuffer>[] = [];
  const link = await world.connect(world.folder, (bytes) => {
    drawn.push(random(bytes));
    return drawn.at(-1) ?? random(bytes);
  });
  const session = await world.open(link);
  const secret = `secret-${crypto.randomUUID()}`;
  let printed = "";
  const exitCode = await exec(session, {
    host: "web1",
    command: ["sh", "-c", 'cat; printf %s "$0" >&2', secret],
    stdin: once(new TextEncoder().encode(secret)),
    onStdout: (bytes) => void (printed += new TextDecoder().decode(bytes)),
    onStderr: (bytes) => void (printed += new TextDecoder().decode(bytes)),
  });
  assert.deepEqual([exitCode, printed], [0, secret + secret]);
  await link.leave();
  const wire = server.wires.at(-1), open = decodeOpen(server.opens.at(-1) ?? new Uint8Array(0));
  assert(wire !== undefined);
  const seen = joinBytes(open.bytes, ...wire.toHost, ...wire.toAdmin);
  assert(
    !containsText(seen, secret) && !containsText(seen, secret.slice(0, 12)) && !containsText(seen, "cat"),
  );
  const answer = wire.answer, hostsKey = answer.slice(EXCHANGE_KEY_AT, EXCHANGE_KEY_END);
  const opens = async (shared: Uint8Array): Promise<boolean> => {
    const keys = sessionKeys(shared, open.bytes, answer);
    const [first] = wire.toHost, [back] = wire.toAdmin;
    assert(first !== undefined && back !== undefined);
    const both = await Promise.allSettled([
      new RecordOpener(keys.administrator).open(first),
      new RecordOpener(keys.host).open(back),
    ]);
    return both.some(({ status }) => status === "fulfilled");
  };
  for (const stolen of await secretsOf(world)) {
    const ownKey = await SessionExchange.create(() => stolen.slice());
    for (const theirs of [open.ephemeral, hostsKey, open.adminKey, open.hostKey]) {
      const shared = await ownKey.agree(theirs).catch(() => null);
      assert(shared === null || !await opens(shared), "a key of the server opens the recording");
    }
    assert(!await opens(stolen), "a secret of the server opens the recording");
  }
  for (const known of [open.ephemeral, hostsKey, open.challenge, open.linkNonce]) assert(!await opens(known));
  // The counter-check: what only alice's program had does open it.
  const byAlice = await Promise.all(
    drawn.filter(({ length }) => length === 32).map(async (seed) => {
      const exchange = await SessionExchange.create(() => seed);
      return exchange.publicKey.toHex() === open.ephemeral.toHex() &&
        await opens(await exchange.agree(hostsKey));
    }),
  );
  assert.equal(byAlice.filter((isOpened) => isOpened).length, 1);
}

/** Everything secret in the server's folder, cut to the length of a key at each place where one could begin. */
async function secretsOf({ server, lab }: HostileWorld): Promise<Uint8Array<ArrayBuffer>[]> {
  const derOf = async (name: string): Promise<Uint8Array<ArrayBuffer>> => {
    const pem = await Deno.readTextFile(`${lab.serverDir}/${name}`);
    return Uint8Array.fromBase64(pem.split("\n").filter((line) => !line.startsWith("-")).join(""));
  };
  const texts = await Promise.all(["ca.key", "tls.key"].map(derOf));
  const cuts = texts.flatMap((der) =>
    Array.from({ length: Math.max(0, der.length - 31) }, (_, at) => der.slice(at, at + 32))
  );
  return [server.identity.serverKey.seed, new Uint8Array(32), ...cuts];
}

function containsText(bytes: Uint8Array, text: string): boolean {
  return new TextDecoder("latin1").decode(bytes).includes(text);
}

function once(bytes: Uint8Array): { read(buffer: Uint8Array): Promise<number | null> } {
  let isRead = false;
  return {
    read(buffer): Promise<number | null> {
      if (isRead) return Promise.resolve(null);
      isRead = true;
      buffer.set(bytes);
      return Promise.resolve(bytes.length);
    },
  };
}
