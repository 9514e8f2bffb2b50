import assert from "node:assert/strict";
import type { ShellInput, ShellOutput, ShellStart } from "../../../src/protocol/manage/session_contract.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import { systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";
import { runShell, type ShellOptions } from "../../../src/client/manage/shell.ts";
import { ShellRecording } from "../../../src/client/manage/shell_recording.ts";
import { parseAsciicastEvent, parseAsciicastHeader } from "../../../src/protocol/manage/asciicast.ts";
import { Failure } from "../../../src/system/failure.ts";
import { until } from "../../e2e/until.ts";
import { FakeTimers, settled } from "../../protocol/rpc/fake_timers.ts";
import { ScriptedHost } from "./scripted_host.ts";
import { TypedTerminal } from "./typed_terminal.ts";

const ID = "3f9a0c41d2b7e655";

function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Answers what is typed, in capitals; "exit N" exits, "lines" shows what the host knows of the terminal. */
class Loud {
  readonly starts: ShellStart[] = [];
  readonly sizes: string[] = [];
  typed = "";
  /** How each viewer went away. */
  readonly wentAway: string[] = [];

  readonly shell = (
    start: ShellStart,
    inputs: AsyncIterableIterator<ShellInput>,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncIterable<ShellOutput> => this.#run(start, inputs, signal);

  async *#run(
    start: ShellStart,
    inputs: AsyncIterableIterator<ShellInput>,
    signal: AbortSignal,
  ): AsyncGenerator<ShellOutput> {
    this.starts.push(start);
    signal.addEventListener("abort", () => this.wentAway.push("cancelled"), { once: true });
    yield bytes("$ ");
    for await (const input of inputs) {
      if (!(input instanceof Uint8Array)) {
        this.sizes.push(`${input.columns}x${input.rows}`);
        continue;
      }
      const text = new TextDecoder().decode(input);
      this.typed += text;
      const [, code] = /exit ([0-9]+)/.exec(this.typed) ?? [];
      if (code !== undefined) {
        yield { exitCode: Number(code) };
        return;
      }
      yield bytes(text.toUpperCase());
    }
    this.wentAway.push("ended the items");
  }
}

/** The options of most tests. */
function optionsFor(
  host: ScriptedHost,
  terminal: TypedTerminal,
  more: Partial<ShellOptions> = {},
): ShellOptions {
  return {
    attach: null,
    detach: false,
    terminal,
    reach: host.reach,
    recording: null,
    timers: systemTimers,
    random: () => 0.5,
    onNotice: terminal.onNotice,
    signal: new AbortController().signal,
    ...more,
  };
}

Deno.test("runShell() carries bytes both ways, sets raw mode for as long, and gives the shell's exit code", async () => {
  const loud = new Loud(), terminal = new TypedTerminal();
  await using host = new ScriptedHost({ shell: loud.shell });
  const running = runShell(optionsFor(host, terminal));
  await terminal.shows(/^\$ $/);
  assert.deepEqual(terminal.modes, [true]);
  terminal.type("ls\r");
  await terminal.shows(/LS\r/);
  terminal.type("\x03\x1b[A\x00é");
  await until("it comes back", () => terminal.shown.includes("\x03\x1b[A\x00É"));
  terminal.type("exit 7");
  assert.equal(await running, 7);
  assert.deepEqual(terminal.modes, [true, false]);
  assert.equal(terminal.listeners, 0);
  assert.deepEqual(host.givenBack, ["done"]);
  assert.deepEqual(host.wishes, [{ attach: null, again: false }]);
});

Deno.test("runShell() tells the host the window, its changes and TERM", async () => {
  const loud = new Loud(), terminal = new TypedTerminal();
  await using host = new ScriptedHost({ shell: loud.shell });
  const running = runShell(optionsFor(host, terminal));
  await terminal.shows(/\$ /);
  terminal.resize(40, 132);
  terminal.type("a");
  await terminal.shows(/A/);
  terminal.resize(0, 0);
  terminal.type("exit 0");
  assert.equal(await running, 0);
  assert.deepEqual(loud.starts, [{ rows: 30, columns: 100, term: "xterm-256color", seenBytes: 0 }]);
  assert.deepEqual(loud.sizes, ["132x40", "80x24"]);
});

for (
  const [term, told] of [[undefined, "xterm"], ["a b\n", "xterm"], ["", "xterm"], [
    "screen.xterm-new",
    "screen.xterm-new",
  ]]
) {
  Deno.test(`runShell() tells the host ${told} where TERM is ${JSON.stringify(term)}`, async () => {
    const loud = new Loud(), terminal = new TypedTerminal();
    terminal.term = term;
    await using host = new ScriptedHost({ shell: loud.shell });
    terminal.type("exit 0");
    assert.equal(await runShell(optionsFor(host, terminal)), 0);
    assert.equal(loud.starts[0]?.term, told);
  });
}

Deno.test("runShell() sends what is no terminal as it is, then Ctrl-D, and needs no window", async () => {
  for (const [typed, sent] of [["ls\n~.\n", "ls\n~.\n\x04"], ["ls", "ls\x04\x04"], ["", "\x04"]] as const) {
    const loud = new Loud(), terminal = new TypedTerminal(false);
    terminal.window = null;
    await using host = new ScriptedHost({ shell: loud.shell });
    const running = runShell(optionsFor(host, terminal, { signal: AbortSignal.any([]) }));
    if (typed !== "") terminal.type(typed);
    await terminal.shows(/\$ /);
    terminal.end();
    // Written on no terminal: a bare line feed stays what it is.
    await terminal.shows(new RegExp(`^\\$ ${sent.toUpperCase().replace(".", "\\.")}$`));
    host.lose();
    await assert.rejects(running, Failure);
    assert.equal(loud.typed, sent);
    assert.deepEqual(loud.starts, [{ rows: 24, columns: 80, term: "xterm-256color", seenBytes: 0 }]);
  }
});

Deno.test("runShell() tells the end of its input again each second, for a shell that threw the first away", async () => {
  const timers = new FakeTimers(), loud = new Loud(), terminal = new TypedTerminal(false);
  await using host = new ScriptedHost({ shell: loud.shell });
  const running = runShell(optionsFor(host, terminal, { timers }));
  await terminal.shows(/\$ /);
  terminal.end();
  await until("it was told", () => loud.typed === "\x04");
  await timers.pass(999);
  assert.equal(timers.pending, 1);
  await timers.pass(1);
  await until("it was told again", () => loud.typed === "\x04\x04");
  host.lose();
  await assert.rejects(running, Failure);
  assert.equal(timers.pending, 0);
});

Deno.test("runShell() shows a bare line feed as one that keeps the column, which raw mode would not", async () => {
  const terminal = new TypedTerminal();
  await using host = new ScriptedHost({
    shell: async function* (): AsyncGenerator<ShellOutput> {
      yield bytes("a\nb\r\nc\r");
      yield bytes("\nd\x1b[2J\n");
      yield { exitCode: 0 };
    },
  });
  assert.equal(await runShell(optionsFor(host, terminal)), 0);
  assert.equal(terminal.shown, "a\vb\r\nc\r\nd\x1b[2J\v");
});

Deno.test("runShell() leaves by ~. with 255, and ends the session in order", async () => {
  const loud = new Loud(), terminal = new TypedTerminal();
  await using host = new ScriptedHost({ shell: loud.shell });
  const running = runShell(optionsFor(host, terminal));
  await terminal.shows(/\$ /);
  terminal.type("~d");
  await terminal.shows(/\[this shell ends with its link: only one begun with --detach can be left running\]/);
  terminal.type("~?");
  await terminal.shows(/\[ {2}~~ {2}send one ~\]/);
  terminal.type("~~");
  await terminal.shows(/\]~$/);
  terminal.type("\r");
  await terminal.shows(/\r$/);
  terminal.type("~.");
  assert.equal(await running, 255);
  assert.equal(loud.typed, "~\r");
  assert.match(terminal.shown, /\[connection to web1 closed\]$/);
  assert.deepEqual(host.givenBack, ["closed"]);
  assert.deepEqual(await Promise.all(host.hostEnds), ["normal"]);
  assert.deepEqual(terminal.modes, [true, false]);
});

for (const keys of ["~d", "~."]) {
  Deno.test(`runShell() tells the id of a --detach shell, and ${keys} leaves it running with exit code 0`, async () => {
    const loud = new Loud(), terminal = new TypedTerminal();
    await using host = new ScriptedHost({ shell: loud.shell });
    const running = runShell(optionsFor(host, terminal, { detach: true }));
    await terminal.shows(/^\[session 3f9a0c41d2b7e655 outlives a lost link; ~d leaves it running\]\$ $/);
    terminal.type(keys);
    assert.equal(await running, 0);
    assert.match(
      terminal.shown,
      /\[session 3f9a0c41d2b7e655 goes on; this takes it up: postern client shell --attach 3f9a0c41d2b7e655\]$/,
    );
    // The items were not ended and the peer was not closed in order: either would end the shell.
    assert.deepEqual(host.givenBack, ["detached"]);
    assert.deepEqual(await Promise.all(host.hostEnds), ["lost"]);
    assert.deepEqual(loud.wentAway, ["cancelled"]);
    assert.deepEqual(terminal.modes, [true, false]);
  });
}

Deno.test("runShell() leaves when its signal is aborted, also before it is reached", async () => {
  const loud = new Loud(), terminal = new TypedTerminal();
  await using host = new ScriptedHost({ shell: loud.shell });
  const ending = new AbortController();
  const running = runShell(optionsFor(host, terminal, { signal: ending.signal }));
  await terminal.shows(/\$ /);
  ending.abort(new Error("ended by SIGTERM"));
  assert.equal(await running, 255);
  assert.deepEqual(terminal.modes, [true, false]);
  await assert.rejects(runShell(optionsFor(host, terminal, { signal: ending.signal })), /ended by SIGTERM/);
  assert.deepEqual(terminal.modes, [true, false]);
});

Deno.test("runShell() says in one line that the session was ended by somebody else", async () => {
  const endings: readonly ShellOutput[] = [
    { ended: "replaced", text: "it was taken up elsewhere" },
    { ended: "revoked", text: "ann was revoked" },
    { ended: "agent_stopped", text: "the agent is ending" },
  ];
  for (const ending of endings) {
    const terminal = new TypedTerminal();
    await using host = new ScriptedHost({
      shell: async function* (): AsyncGenerator<ShellOutput> {
        yield ending;
      },
    });
    await assert.rejects(runShell(optionsFor(host, terminal, { detach: true })), {
      name: "Failure",
      message: `the shell on web1 was ended: ${"text" in ending ? ending.text : ""}`,
    });
    assert.deepEqual(terminal.modes, [true, false]);
  }
});

Deno.test("runShell() names the side that refuses, and restores the terminal", async () => {
  const terminal = new TypedTerminal();
  await using host = new ScriptedHost({});
  await assert.rejects(runShell(optionsFor(host, terminal)), {
    name: "Failure",
    message: "web1 refuses: shell not allowed by its agent.toml",
  });
  assert.deepEqual(terminal.modes, [true, false]);
  host.failures.push(new Failure("web1 is offline"));
  await assert.rejects(runShell(optionsFor(host, terminal)), /web1 is offline/);
  // Not raw before there is a shell.
  assert.deepEqual(terminal.modes, [true, false]);
});

Deno.test("runShell() restores the terminal when the screen has gone", async () => {
  const terminal = new TypedTerminal();
  terminal.output.write = () => Promise.reject(new Error("nobody looks"));
  await using host = new ScriptedHost({ shell: new Loud().shell });
  await assert.rejects(runShell(optionsFor(host, terminal)), /nobody looks/);
  assert.deepEqual(terminal.modes, [true, false]);
  assert.deepEqual(host.givenBack, ["closed"]);
});

Deno.test("runShell() ends a host's shell that ends without a word", async () => {
  const terminal = new TypedTerminal();
  await using host = new ScriptedHost({
    shell: async function* (): AsyncGenerator<ShellOutput> {
      yield bytes("x");
    },
  });
  await assert.rejects(runShell(optionsFor(host, terminal)), /^Failure: connection to web1 lost: /);
  assert.deepEqual(host.givenBack, ["closed"]);
});

Deno.test("runShell() says that a plain shell is lost with its link, and how to have one that is not", async () => {
  const terminal = new TypedTerminal();
  await using host = new ScriptedHost({ shell: new Loud().shell });
  const running = runShell(optionsFor(host, terminal));
  await terminal.shows(/\$ /);
  host.lose("silent", "");
  await assert.rejects(running, (error: unknown) => {
    assert(error instanceof Failure);
    assert.equal(error.message, "connection to web1 lost: the link was lost: no sign of life");
    assert.equal(error.hint, "postern client shell --detach begins a shell that outlives a lost link");
    return true;
  });
  assert.deepEqual(terminal.modes, [true, false]);
});

/** Output that a host keeps, with as many bytes as it has room for, and viewers that come and go. */
class Keeper {
  readonly starts: ShellStart[] = [];
  typed = "";
  #output = "";
  readonly #keeps: number;
  #wake: () => void = () => {};

  constructor(keeps = 1_000) {
    this.#keeps = keeps;
  }

  print(text: string): void {
    this.#output += text;
    this.#wake();
  }

  readonly shell = async function* (
    this: Keeper,
    start: ShellStart,
    inputs: AsyncIterableIterator<ShellInput>,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<ShellOutput> {
    this.starts.push(start);
    void this.#listen(inputs);
    let at = start.seenBytes;
    const kept = this.#output.length - this.#keeps;
    if (at < kept) {
      yield { skippedBytes: kept - at };
      at = kept;
    }
    while (!signal.aborted) {
      if (at < this.#output.length) {
        const text = this.#output.slice(at);
        at = this.#output.length;
        if (text.includes("!")) {
          yield { exitCode: 3 };
          return;
        }
        yield bytes(text);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
        if (at < this.#output.length) resolve();
      });
    }
  }.bind(this);

  async #listen(inputs: AsyncIterableIterator<ShellInput>): Promise<void> {
    try {
      for await (const input of inputs) {
        if (input instanceof Uint8Array) this.typed += new TextDecoder().decode(input);
      }
    } catch {
      // The viewer has gone.
    }
  }
}

interface Reattached {
  readonly keeper: Keeper;
  readonly terminal: TypedTerminal;
  readonly host: ScriptedHost;
  readonly timers: FakeTimers;
  readonly running: Promise<number>;
}

/** A --detach shell that has shown "one " and then lost its link, with the time that passes by `timers` alone. */
async function lostShell(
  keeper: Keeper,
  failures: unknown[],
  more: Partial<ShellOptions> = {},
): Promise<Reattached> {
  const terminal = new TypedTerminal(), timers = new FakeTimers();
  const host = new ScriptedHost({ shell: keeper.shell });
  keeper.print("one ");
  const clock: Timers = timers;
  const running = runShell(optionsFor(host, terminal, { detach: true, timers: clock, ...more }));
  running.catch(() => {});
  await terminal.shows(/one $/);
  host.failures.push(...failures);
  host.lose();
  await terminal.shows(
    /\[connection to web1 lost \(the link was lost: the connection broke\); trying again, ~\. leaves\]/,
  );
  return { keeper, terminal, host, timers, running };
}

function offline(): Failure {
  return new Failure("web1 is offline", { cause: new ResetError("offline", "there", "web1 is offline") });
}

Deno.test("runShell() takes a lost --detach shell up again: nothing doubled, nothing missing, typing kept", async () => {
  const lost = await lostShell(new Keeper(), [
    offline(),
    new ResetError("shutting_down", "there", ""),
    offline(),
  ]);
  await using host = lost.host;
  const { keeper, terminal, timers, running } = lost;
  keeper.print("two ");
  terminal.type("typed meanwhile");
  await timers.pass(60_000);
  await terminal.shows(/\[connected to web1 again\]two $/);
  keeper.print("three");
  await terminal.shows(/three$/);
  assert.equal(
    terminal.shown.replaceAll(/\[.*?\]/g, ""),
    "one two three",
  );
  assert.deepEqual(keeper.starts.map(({ seenBytes }) => seenBytes), [0, "one ".length]);
  assert.deepEqual(host.wishes, [
    { attach: null, again: false },
    ...new Array(4).fill({ attach: ID, again: true }),
  ]);
  await settled();
  assert.equal(keeper.typed, "typed meanwhile");
  // Raw all the time.
  assert.deepEqual(terminal.modes, [true]);
  keeper.print("!");
  assert.equal(await running, 3);
  assert.deepEqual(host.givenBack, ["detached", "done"]);
});

Deno.test("runShell() says how much output is missing, and counts it as seen", async () => {
  const keeper = new Keeper(5);
  const lost = await lostShell(keeper, []);
  await using host = lost.host;
  const { terminal, timers, running } = lost;
  keeper.print("0123456789");
  await timers.pass(60_000);
  await terminal.shows(/\[5 bytes of output are missing here: .*\]56789$/);
  host.lose();
  await settled();
  await timers.pass(60_000);
  keeper.print("!");
  assert.equal(await running, 3);
  assert.deepEqual(keeper.starts.map(({ seenBytes }) => seenBytes), [0, 4, 14]);
});

Deno.test("runShell() is left by ~. while it tries to reach a lost shell", async () => {
  const lost = await lostShell(new Keeper(), new Array(100).fill(offline()));
  await using _host = lost.host;
  const { terminal, timers, running } = lost;
  await timers.pass(1_000);
  terminal.type("\r~.");
  assert.equal(await running, 0);
  assert.match(terminal.shown, /\[session 3f9a0c41d2b7e655 goes on; this takes it up: .*\]$/);
  assert.deepEqual(terminal.modes, [true, false]);
  assert.equal(timers.pending, 0);
});

Deno.test("runShell() tries no more once somebody has refused for good", async () => {
  const refusals: readonly (readonly [unknown, RegExp])[] = [
    [new ResetError("revoked", "there", "ann was revoked"), /^the server refuses: .*ann was revoked$/],
    [new ApplicationError("refused_by_host", "no such session"), /^web1 refuses: no such session$/],
    [
      new Failure("web1 refuses: no such session", {
        cause: new ApplicationError("refused_by_host", "no such session"),
      }),
      /^web1 refuses: no such session$/,
    ],
  ];
  for (const [refusal, message] of refusals) {
    const lost = await lostShell(new Keeper(), [offline(), refusal]);
    await using host = lost.host;
    await lost.timers.pass(60_000);
    await assert.rejects(lost.running, (error: unknown) => {
      assert(error instanceof Failure);
      assert.match(error.message, message);
      return true;
    });
    assert.equal(host.wishes.length, 3);
  }
});

Deno.test("runShell() gives a lost shell up when the grace time is over, and says how to try later", async () => {
  const lost = await lostShell(new Keeper(), new Array(100).fill(offline()), { graceMs: 30_000 });
  await using host = lost.host;
  await lost.timers.pass(120_000);
  await assert.rejects(lost.running, (error: unknown) => {
    assert(error instanceof Failure);
    assert.match(error.message, /^connection to web1 lost: the session was not reached again within 30 s$/);
    assert.equal(
      error.hint,
      `if the host still has it, this takes it up: postern client shell --attach ${ID}`,
    );
    return true;
  });
  assert(host.wishes.length > 4, `${host.wishes.length} attempts`);
  assert.deepEqual(lost.terminal.modes, [true, false]);
});

Deno.test("runShell() does not try again when the link was ended for good", async () => {
  const terminal = new TypedTerminal();
  await using host = new ScriptedHost({ shell: new Loud().shell });
  const running = runShell(optionsFor(host, terminal, { detach: true }));
  await terminal.shows(/\$ /);
  host.lose("expired", "the policy allowed it until 12:00");
  await assert.rejects(
    running,
    /^Failure: the time is over that was allowed for it: the policy allowed it until 12:00$/,
  );
  assert.equal(host.wishes.length, 1);
});

Deno.test("runShell() attaches to a session by its id, which then outlives its link as well", async () => {
  const loud = new Loud(), terminal = new TypedTerminal();
  await using host = new ScriptedHost({ shell: loud.shell });
  const running = runShell(optionsFor(host, terminal, { attach: "00112233445566aa" }));
  await terminal.shows(/\[session 00112233445566aa outlives a lost link/);
  await terminal.shows(/\$ /);
  terminal.type("~d");
  assert.equal(await running, 0);
  assert.deepEqual(host.wishes, [{ attach: "00112233445566aa", again: false }]);
  assert.deepEqual(host.givenBack, ["detached"]);
});

Deno.test("runShell() stops reading the keyboard while the host takes nothing, and loses none of it", async () => {
  const terminal = new TypedTerminal(false);
  let go = (): void => {};
  const slow = new Promise<void>((resolve) => go = resolve);
  let got = 0;
  await using host = new ScriptedHost({
    shell: async function* (_start, inputs): AsyncGenerator<ShellOutput> {
      yield bytes("$ ");
      await slow;
      for await (const input of inputs) {
        if (input instanceof Uint8Array) got += input.length;
        if (got >= total) break;
      }
      yield { exitCode: 0 };
    },
  });
  const piece = new Uint8Array(32 * 1024).fill(0x61), pieces = 64, total = piece.length * pieces;
  let read = 0;
  const input = terminal.input.read;
  terminal.input.read = async (buffer): Promise<number | null> => {
    const count = await input(buffer);
    read += count ?? 0;
    return count;
  };
  for (let i = 0; i < pieces; i++) terminal.type(piece);
  const running = runShell(optionsFor(host, terminal));
  await terminal.shows(/\$ /);
  await settled();
  await settled();
  assert(read < total / 2, `${read} bytes were read ahead`);
  go();
  assert.equal(await running, 0);
  assert.equal(got, total);
  terminal.end();
});

Deno.test("runShell() records what is shown and the window, and not what is typed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/shell.cast`, loud = new Loud(), terminal = new TypedTerminal();
    await using host = new ScriptedHost({ shell: loud.shell });
    const recording = ShellRecording.create({
      path,
      title: "web1",
      rows: 30,
      columns: 100,
      term: "xterm",
      wallMs: 1_763_712_600_500,
      timers: systemTimers,
      onNotice: terminal.onNotice,
    });
    const running = runShell(optionsFor(host, terminal, { recording }));
    await terminal.shows(/\$ /);
    terminal.resize(40, 132);
    terminal.type("é");
    await terminal.shows(/É/);
    terminal.type("exit 0");
    assert.equal(await running, 0);
    recording.close();
    recording.close();
    const [header = "", ...lines] = (await Deno.readTextFile(path)).trimEnd().split("\n");
    assert.deepEqual(parseAsciicastHeader(header), {
      width: 100,
      height: 30,
      timestamp: 1_763_712_600,
      title: "web1",
      term: "xterm",
    });
    const events = lines.map(parseAsciicastEvent).map(({ atMs: _, ...event }) => event);
    assert.deepEqual(events, [
      { kind: "output", text: "$ " },
      { kind: "resize", rows: 40, columns: 132 },
      { kind: "output", text: "É" },
    ]);
    assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("ShellRecording.create() writes into no file that is there, and leaves none of a shell that never was", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/shell.cast`;
    const start = {
      path,
      title: "web1",
      rows: 30,
      columns: 100,
      term: "xterm",
      wallMs: 0,
      timers: systemTimers,
      onNotice: (): void => {},
    };
    ShellRecording.create(start).close();
    assert.deepEqual([...Deno.readDirSync(folder)], []);
    await Deno.writeTextFile(path, "mine");
    assert.throws(() => ShellRecording.create(start), /Failure: cannot record to .*: it is there already/);
    assert.equal(await Deno.readTextFile(path), "mine");
    assert.throws(() => ShellRecording.create({ ...start, path: `${folder}/no/shell.cast` }), {
      name: "Failure",
      message: `cannot record to ${folder}/no/shell.cast`,
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
