/** The library as a program uses it: both sides in one process, over memory without a relay, and over TCP with one. */
import assert from "node:assert/strict";
import { receive, type ReceiveOptions, type ReceiveResult } from "../../../src/client/transfer/receive.ts";
import { share, type ShareOptions, type ShareWhat } from "../../../src/client/transfer/share.ts";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import type { TransferEvent } from "../../../src/protocol/transfer/events.ts";
import { memory } from "../../../src/protocol/transport/memory.ts";
import { tcp } from "../../../src/protocol/transport/tcp.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { RunningRelay } from "../../server/relay/running_relay.ts";

const TIMEOUT_MS = 30_000;

type Connect = (signal: AbortSignal) => Promise<Connection>;

/** How the two sides reach one another. */
interface Ways extends AsyncDisposable {
  readonly sender: Connect;
  readonly receiver: Connect;
  readonly throughRelay: boolean;
}

/** The receiver dials the sender itself. */
async function direct(): Promise<Ways> {
  const transport = memory();
  const listener = await transport.listen();
  return {
    sender: async (signal): Promise<Connection> => {
      const gone = Promise.withResolvers<never>();
      const abort = (): void => gone.reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      try {
        const connection = await Promise.race([listener.accept(), gone.promise]);
        if (connection === null) throw new TransportError("lost", "nobody listens any more");
        return connection;
      } finally {
        signal.removeEventListener("abort", abort);
      }
    },
    receiver: (signal) => transport.connect(undefined, { signal }),
    throughRelay: false,
    [Symbol.asyncDispose]: () => Promise.resolve(listener.close()),
  };
}

/** Both dial a relay. */
async function relayed(): Promise<Ways> {
  const relay = await RunningRelay.start();
  const connect: Connect = (signal) => tcp(relay.address).connect(undefined, { signal });
  return {
    sender: connect,
    receiver: connect,
    throughRelay: true,
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
  };
}

/** Both sides in a folder, each with a state of its own. */
class Stage implements AsyncDisposable {
  readonly path: string;
  readonly ways: Ways;
  readonly told = { sender: [] as TransferEvent[], receiver: [] as TransferEvent[] };
  readonly notices: string[] = [];
  readonly #folder: TempFolder;

  private constructor(folder: TempFolder, ways: Ways) {
    this.path = folder.path;
    this.ways = ways;
    this.#folder = folder;
  }

  static async make(ways: Promise<Ways>): Promise<Stage> {
    const folder = await TempFolder.make("library");
    for (const name of ["out", "in"]) await Deno.mkdir(`${folder.path}/${name}`);
    return new Stage(folder, await ways);
  }

  get out(): string {
    return `${this.path}/out`;
  }

  get in(): string {
    return `${this.path}/in`;
  }

  /** Shares, and gives the code as soon as it is told; null if it goes on with those from before. */
  share(
    what: ShareWhat,
    options: Partial<ShareOptions> = {},
  ): { code: Promise<string>; done: Promise<void> } {
    const code = Promise.withResolvers<string>();
    const done = share(what, {
      connect: this.ways.sender,
      throughRelay: this.ways.throughRelay,
      stateFolder: `${this.path}/state-out`,
      onEvent: (event): void => {
        this.told.sender.push(event);
        if (event.event === "code") code.resolve(event.code);
      },
      onNotice: (line) => this.notices.push(line),
      ...options,
    });
    done.catch(code.reject);
    return { code: code.promise, done };
  }

  receive(code: string, options: Partial<ReceiveOptions> = {}): Promise<ReceiveResult> {
    return receive(code, {
      connect: this.ways.receiver,
      throughRelay: this.ways.throughRelay,
      folder: this.in,
      stateFolder: `${this.path}/state-in`,
      onEvent: (event) => this.told.receiver.push(event),
      onNotice: (line) => this.notices.push(line),
      ...options,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ways[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

const WAYS = { "memory, without a relay": direct, "TCP, through a relay": relayed } as const;

function over(name: string, run: (stage: Stage) => Promise<void>): void {
  for (const [way, make] of Object.entries(WAYS)) {
    Deno.test({
      name: `${name}, over ${way}`,
      timeout: TIMEOUT_MS,
      async fn(): Promise<void> {
        await using stage = await Stage.make(make());
        await run(stage);
      },
    });
  }
}

async function failsWith(
  promise: Promise<unknown>,
  code: TransferErrorCode,
  message: RegExp = /./,
): Promise<TransferError> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof TransferError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return error;
  }
  throw new assert.AssertionError({ message: `it did not fail with ${code}` });
}

const refuse = (): Promise<Connection> => Promise.reject(new Error("it has dialled"));

function namesIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).toSorted();
}

/** Bytes that cannot be compressed. */
function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

over("share() and receive() move a folder as it is", async (stage) => {
  await Deno.mkdir(`${stage.out}/d/empty`, { recursive: true });
  await Deno.writeTextFile(`${stage.out}/d/a`, "a".repeat(3_000_000));
  await Deno.writeFile(`${stage.out}/d/b`, randomBytes(1_234_567), { mode: 0o600 });
  await Deno.writeTextFile(`${stage.out}/c`, "");
  const sharing = stage.share({ paths: [`${stage.out}/d`, `${stage.out}/c`] });
  const result = await stage.receive(await sharing.code);
  await sharing.done;
  assert.deepEqual(result, { kind: "files", paths: [`${stage.in}/d`, `${stage.in}/c`] });
  assert.deepEqual(namesIn(stage.in), ["c", "d"]);
  assert.deepEqual(namesIn(`${stage.in}/d`), ["a", "b", "empty"]);
  for (const name of ["d/a", "d/b", "c"]) {
    const [sent, received] = [
      await Deno.readFile(`${stage.out}/${name}`),
      await Deno.readFile(`${stage.in}/${name}`),
    ];
    assert(sent.length === received.length && sent.every((byte, i) => byte === received[i]), name);
    const [from, to] = [await Deno.stat(`${stage.out}/${name}`), await Deno.stat(`${stage.in}/${name}`)];
    assert.deepEqual([to.mode, to.mtime?.getTime()], [from.mode, from.mtime?.getTime()], name);
  }
  // Nothing of it is remembered but that the code is spent.
  assert.deepEqual(namesIn(`${stage.path}/state-out`), []);
  assert.equal(namesIn(`${stage.path}/state-in`).length, 1);
  const { sender, receiver } = stage.told;
  assert.deepEqual(
    sender.filter(({ event }) => event !== "progress" && event !== "waiting").map(({ event }) => event),
    [
      "code",
      "paired",
      "offer",
      "accepted",
      "done",
    ],
  );
  assert.equal(receiver.filter(({ event }) => event === "file_done").length, 3);
});

over("share() of a text gives a text", async (stage) => {
  const sharing = stage.share({ text: "zwölf\n\x1b[2J" });
  assert.deepEqual(await stage.receive(await sharing.code), { kind: "text", text: "zwölf\n\x1b[2J" });
  await sharing.done;
  assert.deepEqual(namesIn(stage.in), []);
});

over("share() of a stream gives a file", async (stage) => {
  const bytes = randomBytes(2_500_000);
  const stream = new Blob([bytes]).stream();
  const sharing = stage.share({ stream, name: "made.bin" });
  assert.deepEqual(await stage.receive(await sharing.code), {
    kind: "files",
    paths: [`${stage.in}/made.bin`],
  });
  await sharing.done;
  assert.deepEqual(await Deno.readFile(`${stage.in}/made.bin`), bytes);
  assert.deepEqual(namesIn(`${stage.path}/state-out`), []);
});

over(
  "receive() with a wrong code is a mismatch on both sides, and neither code is good for anything any more",
  async (stage) => {
    await Deno.writeTextFile(`${stage.out}/a`, "a");
    const sharing = stage.share({ paths: [`${stage.out}/a`] });
    const code = await sharing.code;
    const wrong = `${code.split("-")[0]}-zebra-zero-zone`;
    const receiving = stage.receive(wrong);
    await Promise.all([
      failsWith(receiving, "mismatch", /^the code does not match/),
      failsWith(sharing.done, "mismatch", /^the code does not match/),
    ]);
    // Typed again, it is looked for whether the sender knows of it, and never guessed with.
    await failsWith(
      stage.receive(wrong, { graceMs: 200 }),
      "spent",
      /^cannot use the code again: it was tried before/,
    );
    assert(
      stage.notices.includes(
        "this code was tried before: looking for 1 s whether the other side knows of it",
      ),
    );
    const again = stage.share({ paths: [`${stage.out}/a`] });
    assert.notEqual(await again.code, code);
    await stage.receive(await again.code);
    await again.done;
  },
);

over("receive() with a code that is used up says so, without asking anybody", async (stage) => {
  const sharing = stage.share({ text: "x" });
  const code = await sharing.code;
  await stage.receive(code);
  await sharing.done;
  const connect = (): Promise<Connection> => Promise.reject(new Error("it has dialled"));
  await failsWith(stage.receive(code, { connect }), "spent", /is over$/);
});

over(
  "share() stopped before anybody came offers the same code again, or a new one if it is to be fresh",
  async (stage) => {
    await Deno.writeTextFile(`${stage.out}/a`, "a");
    const what = { paths: [`${stage.out}/a`] };
    const codes: string[] = [];
    for (const fresh of [false, false, true]) {
      const stop = new AbortController();
      const sharing = stage.share(what, { signal: stop.signal, fresh });
      codes.push(await sharing.code);
      stop.abort(new Error("enough"));
      await assert.rejects(sharing.done, /enough/);
    }
    assert.equal(codes[0], codes[1]);
    assert.notEqual(codes[1], codes[2]);
    // Another relay, or another number of receivers, is another share.
    const stop = new AbortController();
    const other = stage.share(what, { signal: stop.signal, relay: "other.example:8080" });
    assert(!codes.includes(await other.code));
    stop.abort(new Error("enough"));
    await assert.rejects(other.done, /enough/);
  },
);

over("share() stopped by its signal goes on with the same call, and sends nothing again", async (stage) => {
  const bytes = randomBytes(6_000_000);
  await Deno.writeFile(`${stage.out}/a`, bytes);
  const what = { paths: [`${stage.out}/a`] };
  const stop = new AbortController();
  const reason = new Error("enough");
  const sharing = stage.share(what, { signal: stop.signal });
  const code = await sharing.code;
  const receiving = stage.receive(code, {
    onEvent: (event): void => {
      stage.told.receiver.push(event);
      if (event.event === "progress" && event.receivedBytes > 0) stop.abort(reason);
    },
  });
  await assert.rejects(sharing.done, (error: unknown) => error === reason);
  // The receiver is still there, within its grace time.
  const again = stage.share(what);
  assert.deepEqual(await receiving, { kind: "files", paths: [`${stage.in}/a`] });
  await again.done;
  assert(
    stage.notices.some((line) =>
      line.startsWith("going on with the receiver from before") && line.includes(`the same code: ${code} `)
    ),
    stage.notices.join(),
  );
  assert.deepEqual(await Deno.readFile(`${stage.in}/a`), bytes);
  const missing = stage.told.receiver.flatMap((event) =>
    event.event === "accepted" ? [event.missingBytes] : []
  );
  assert.equal(missing.length, 2);
  assert((missing[1] ?? Infinity) < 6_000_000, missing.join());
  assert.deepEqual(namesIn(`${stage.path}/state-out`), []);
});

over("share() stopped before anybody came offers the same code, and says so", async (stage) => {
  await Deno.writeTextFile(`${stage.out}/a`, "a");
  const stop = new AbortController(), what = { paths: [`${stage.out}/a`] };
  const first = stage.share(what, { signal: stop.signal });
  const code = await first.code;
  stop.abort(new Error("enough"));
  await assert.rejects(first.done);
  assert.deepEqual(stage.notices, []);
  const again = stage.share(what);
  assert.equal(await again.code, code);
  assert.deepEqual(stage.notices, ["the code is the same as before"]);
  await stage.receive(code);
  await again.done;
});

over("receive() stopped by its signal goes on with the same call, and asks nobody twice", async (stage) => {
  await Deno.writeFile(`${stage.out}/a`, randomBytes(6_000_000));
  const sharing = stage.share({ paths: [`${stage.out}/a`] });
  const code = await sharing.code;
  const stop = new AbortController();
  const reason = new Error("enough");
  let questions = 0;
  const confirm = (): Promise<boolean> => Promise.resolve(++questions > 0);
  await assert.rejects(
    stage.receive(code, {
      confirm,
      signal: stop.signal,
      onEvent: (event) => event.event === "progress" && event.receivedBytes > 0 && stop.abort(reason),
    }),
    (error: unknown) => error === reason,
  );
  assert.deepEqual(namesIn(stage.in).map((name) => name.slice(0, 9)), [".postern-"]);
  await stage.receive(code, { confirm });
  await sharing.done;
  assert.equal(questions, 1);
  assert.deepEqual(namesIn(stage.in), ["a"]);
  assert(stage.told.receiver.some((event) => event.event === "paired" && event.resumed));
});

over(
  "what a receiver refuses ends both sides, is never written, and the next share has a new code",
  async (stage) => {
    await Deno.writeTextFile(`${stage.out}/.a`, "new");
    await Deno.writeTextFile(`${stage.out}/b`, "new");
    await Deno.writeTextFile(`${stage.in}/b`, "old");
    const cases: readonly [path: string, options: Partial<ReceiveOptions>, code: TransferErrorCode][] = [
      [".a", {}, "path"],
      ["b", {}, "exists"],
      ["b", { overwrite: true, maxTotalBytes: 2 }, "limit"],
      ["b", { overwrite: true, maxEntries: 0 }, "limit"],
      ["b", { overwrite: true, confirm: () => Promise.resolve(false) }, "refused"],
    ];
    const codes = new Set<string>();
    for (const [path, options, reason] of cases) {
      const sharing = stage.share({ paths: [`${stage.out}/${path}`] });
      const code = await sharing.code;
      codes.add(code);
      const [, there] = await Promise.all([
        failsWith(stage.receive(code, options), reason),
        failsWith(sharing.done, reason),
      ]);
      assert.equal(there.side, "there");
      assert.deepEqual(namesIn(stage.in), ["b"]);
      await failsWith(stage.receive(code, options), "spent");
    }
    assert.equal(codes.size, cases.length);
    assert.equal(await Deno.readTextFile(`${stage.in}/b`), "old");
    const sharing = stage.share({ paths: [`${stage.out}/b`] });
    await stage.receive(await sharing.code, { overwrite: true });
    await sharing.done;
    assert.equal(await Deno.readTextFile(`${stage.in}/b`), "new");
  },
);

over("share() lets several in by one code, and tells of each", async (stage) => {
  await Deno.writeTextFile(`${stage.out}/a`, "for all");
  const sharing = stage.share({ paths: [`${stage.out}/a`] }, { receivers: 3 });
  const code = await sharing.code;
  const results: unknown[] = [];
  const each = async (name: string, confirm: boolean): Promise<void> => {
    try {
      const folder = `${stage.in}/${name}`;
      results.push(
        await stage.receive(code, {
          folder,
          stateFolder: `${folder}-state`,
          confirm: () => Promise.resolve(confirm),
        }),
      );
    } catch (error) {
      results.push(error instanceof TransferError ? error.code : error);
    }
  };
  await Promise.all([
    failsWith(sharing.done, "refused"),
    (async (): Promise<void> => {
      // One after the other, as a connection without a relay has no queue.
      for (const [name, confirm] of [["1", true], ["2", false], ["3", true]] as const) {
        await each(name, confirm);
      }
    })(),
  ]);
  assert.deepEqual(results, [
    { kind: "files", paths: [`${stage.in}/1/a`] },
    "refused",
    { kind: "files", paths: [`${stage.in}/3/a`] },
  ]);
  const ends = stage.told.sender.flatMap((event) =>
    event.event === "done" || event.event === "receiver_failed" ? [`${event.receiver} ${event.event}`] : []
  );
  assert.deepEqual(ends.toSorted(), ["1 done", "2 receiver_failed", "3 done"]);
});

over("receive() is done when all is in its place, also if that cannot be remembered", async (stage) => {
  await Deno.writeTextFile(`${stage.out}/a`, "a");
  const state = `${stage.path}/state-in`;
  const sharing = stage.share({ paths: [`${stage.out}/a`] });
  const result = await stage.receive(await sharing.code, {
    onEvent: ({ event }): void => {
      if (event !== "file_done") return;
      Deno.removeSync(state, { recursive: true });
      Deno.writeTextFileSync(state, "no folder");
    },
  });
  await sharing.done;
  assert.deepEqual(result, { kind: "files", paths: [`${stage.in}/a`] });
  assert.match(stage.notices.join(), /^cannot write .*\/received-[0-9a-f]{64}\.json: /);
});

over("receive() in two processes at once leaves the first one alone", async (stage) => {
  await Deno.writeTextFile(`${stage.out}/a`, "a");
  const sharing = stage.share({ paths: [`${stage.out}/a`] });
  const code = await sharing.code;
  await stage.receive(code, {
    confirm: async () => {
      await failsWith(
        stage.receive(code, { connect: refuse }),
        "storage",
        /another process receives into it/,
      );
      return true;
    },
  });
  await sharing.done;
  assert.deepEqual(namesIn(stage.in), ["a"]);
});

over(
  "receive() goes on in its folder, whatever was received by the same code into another",
  async (stage) => {
    await Deno.writeFile(`${stage.out}/a`, randomBytes(6_000_000));
    const sharing = stage.share({ paths: [`${stage.out}/a`] }, { receivers: 2 });
    const code = await sharing.code;
    const stop = new AbortController();
    const [first, second] = [{ folder: `${stage.in}/1` }, { folder: `${stage.in}/2` }];
    await assert.rejects(
      stage.receive(code, {
        ...first,
        signal: stop.signal,
        onEvent: (event) => event.event === "progress" && event.receivedBytes > 0 && stop.abort("enough"),
      }),
      (error: unknown) => error === "enough",
    );
    // Another home would do as well; this one's memory of the first is lost to it.
    await Deno.rename(`${stage.path}/state-in`, `${stage.path}/state-1`);
    await stage.receive(code, second);
    await stage.receive(code, first);
    await sharing.done;
    assert.deepEqual([namesIn(first.folder), namesIn(second.folder)], [["a"], ["a"]]);
  },
);

over("share() and receive() work without any state, and say what that means", async (stage) => {
  await Deno.writeTextFile(`${stage.out}/a`, "a");
  const sharing = stage.share({ paths: [`${stage.out}/a`] }, { stateFolder: null });
  await stage.receive(await sharing.code, { stateFolder: null });
  await sharing.done;
  assert.deepEqual(stage.notices, [
    "no state folder may be used, so this share cannot go on once its program has ended",
  ]);
  assert.deepEqual(namesIn(stage.path), ["in", "out"]);
});

Deno.test("share() and receive() refuse a code that is none, or too easy, before anything else", async () => {
  const connect = (): Promise<Connection> => Promise.reject(new Error("it has dialled"));
  await failsWith(receive("4815-ocean", { connect, folder: "/nowhere" }), "code", /it has 1 word,/);
  await failsWith(
    share({ paths: ["/nowhere"] }, { connect, code: "1234-ocean-rabbit-velvet" }),
    "code",
    /counting/,
  );
});

Deno.test("share() of a path that is not there fails before anybody is told a code", async () => {
  await using folder = await TempFolder.make("library");
  const events: TransferEvent[] = [];
  await assert.rejects(
    share({ paths: [`${folder.path}/none`] }, {
      connect: () => Promise.reject(new Error("it has dialled")),
      stateFolder: null,
      onEvent: (event) => events.push(event),
    }),
    /^Failure: cannot share .*there is nothing of that name/,
  );
  assert.deepEqual(events, []);
});

Deno.test("receive() into a folder that cannot be made spends no code", async () => {
  await using folder = await TempFolder.make("library");
  await Deno.writeTextFile(`${folder.path}/file`, "");
  await failsWith(
    receive("4815-ocean-rabbit-velvet", {
      connect: () => Promise.reject(new Error("it has dialled")),
      folder: `${folder.path}/file/in`,
      stateFolder: `${folder.path}/state`,
    }),
    "storage",
  );
  assert.deepEqual([namesIn(folder.path), namesIn(`${folder.path}/state`)], [["file", "state"], []]);
  // Nobody can make a folder there, and nothing says so before it is tried.
  const nowhere = { connect: refuse, folder: "/proc/postern", stateFolder: null, graceMs: 0 };
  await failsWith(receive("4815-ocean-rabbit-velvet", nowhere), "storage");
});
