/** The two commands on a real terminal: the bars as they are drawn, the code with Tab, the question, and Ctrl-C. */
import assert from "node:assert/strict";
import { terminalObstacle, unless } from "../e2e/machine.ts";
import { textOf, until } from "../e2e/until.ts";
import { environmentOf, shellLine, TransferPlace, writeRandom } from "./transfer_programs.ts";
import { TerminalScreen } from "./transfer_screen.ts";

const mainPath = new URL("../../main.ts", import.meta.url).pathname;
const TIMEOUT_MS = 60_000;
const PROMPT = /Deno requests/;

const obstacle = await terminalObstacle();

/** What is done at the keyboard, as soon as `after` is shown. */
interface Typing {
  readonly after: RegExp;
  readonly text: string;
}

interface Shown {
  readonly code: number;
  /** All that was written, with every control sequence. */
  readonly raw: string;
  readonly screen: TerminalScreen;
}

/** Runs a shell line on a terminal of that width. */
async function onTerminal(
  line: string,
  options: {
    readonly folder: string;
    readonly home: string;
    readonly columns: number;
    readonly typings?: readonly Typing[];
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<Shown> {
  const { folder, home, columns, typings = [], env = {} } = options;
  const child = new Deno.Command("script", {
    // A terminal of script is 0 by 0 at first; the line ends with what the terminal is set to. Ctrl-C is sent to the
    // shell as well, which would end before that.
    args: [
      "-qfec",
      `trap : INT; stty cols ${columns} rows 24; ${line}; code=$?; stty -a; exit $code`,
      "/dev/null",
    ],
    cwd: folder,
    clearEnv: true,
    env: { ...environmentOf({ home, env }), SHELL: "/bin/sh", TERM: "xterm" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const keyboard = child.stdin.getWriter();
  const decoder = new TextDecoder();
  const screen = new TerminalScreen(columns);
  const waiting = [...typings];
  let raw = "";
  let seen = 0;
  for await (const chunk of child.stdout) {
    const text = decoder.decode(chunk, { stream: true });
    raw += text;
    screen.write(text);
    if (PROMPT.test(raw)) {
      child.kill("SIGKILL");
      break;
    }
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      const at = raw.slice(seen).search(next.after);
      if (at === -1) break;
      seen += at + 1;
      waiting.shift();
      await keyboard.write(new TextEncoder().encode(next.text));
    }
  }
  const { code } = await child.status;
  await keyboard.close().catch(() => {});
  assert.doesNotMatch(raw, PROMPT);
  assert.deepEqual(waiting, [], raw);
  return { code, raw, screen };
}

/** A terminal as it is found: what is typed is shown, line by line, and Ctrl-C is a signal. */
function assertRestored({ raw, screen }: Shown): void {
  for (const setting of ["echo", "icanon", "isig", "icrnl"]) {
    assert.match(raw, new RegExp(`(?<![-a-z])${setting}\\b`), setting);
    assert.doesNotMatch(raw, new RegExp(`-${setting}\\b`), setting);
  }
  assert(screen.isCursorShown, "the cursor stays hidden");
  assert(screen.doesWrap, "lines do not wrap any more");
}

/** What is left on the screen of the program, without what stty says in the end. */
function leftOn({ screen }: Shown): string[] {
  const end = screen.lines.findIndex((line) => line.startsWith("speed "));
  return screen.lines.slice(0, end).filter((line) => line !== "");
}

const BAR = /^\[=* *\] +[0-9]+ %/;

function terminalTest(
  name: string,
  run: (place: TransferPlace) => Promise<void>,
  relayWords: string[] = [],
): void {
  Deno.test({
    ...unless(obstacle, name),
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      await using place = await TransferPlace.make(relayWords);
      await run(place);
    },
  });
}

/** `client receive` on a terminal, of what is shared. */
async function received(
  place: TransferPlace,
  words: readonly string[],
  options: { columns?: number; typings?: readonly Typing[]; env?: Readonly<Record<string, string>> } = {},
): Promise<Shown> {
  const home = `${place.folder}/home-in`;
  const line = await shellLine(["client", "receive", ...words, "--relay", place.relay], home);
  return await onTerminal(line, { folder: place.in, home, columns: 80, ...options });
}

for (const [columns, env] of [[80, {}], [44, { NO_COLOR: "1" }]] as const) {
  terminalTest(
    `client receive draws two bars that fit into ${columns} columns, with speed and time left, and takes them away`,
    async (place) => {
      await Deno.mkdir(`${place.out}/d`);
      for (const name of ["a", "b", "c"]) await writeRandom(`${place.out}/d/${name}.bin`, 1_500_000);
      await using sender = await place.share(["d"]);
      const shown = await received(place, [await sender.code(), "--yes"], { columns, env });
      assert.equal(shown.code, 0, shown.raw);
      await sender.ends(0);
      const { screen } = shown;
      // Both at once, the total below the file.
      const frames = screen.frames.map((frame) => frame.split("\n").filter((line) => BAR.test(line)));
      const both = frames.filter((bars) => bars.length === 2);
      assert(both.length > 2, JSON.stringify(frames));
      assert(frames.every((bars) => bars.length <= 2));
      assert(
        both.some(([file = "", total = ""]) =>
          (columns < 60 || /d\/[abc]\.bin$/.test(file)) && /[0-9.]+ MB\/s {2}ETA [0-9.]+ s/.test(total)
        ),
        JSON.stringify(both),
      );
      assert(
        screen.widestUnwrapped > 0 && screen.widestUnwrapped < columns,
        `${screen.widestUnwrapped} columns`,
      );
      // It grows, and nothing of it is left.
      const percents = both.map(([, total = ""]) => Number(/([0-9]+) %/.exec(total)?.[1]));
      assert.deepEqual(percents, percents.toSorted((a, b) => a - b));
      assert(new Set(percents).size > 1, percents.join());
      const left = leftOn(shown);
      assert(left.every((line) => !BAR.test(line)), left.join("\n"));
      // In a narrow terminal it goes over two lines.
      assert.match(
        left.join(" "),
        /received and verified 3 files and 1 folder, 4\.5 MB in [0-9.]+ s, [0-9.]+ MB\/s d$/,
      );
      assert.equal(left.at(-1), "d");
      // There is no colour for NO_COLOR to take away.
      const sequences = shown.raw.split("\x1b").slice(1);
      assert(!sequences.some((sequence) => /^\[[0-9;]*m/.test(sequence)), shown.raw);
      assert(shown.raw.includes("\x1b[?25l"), "the cursor would run up and down the bars");
      assertRestored(shown);
    },
    ["--rate", "2000000"],
  );
}

terminalTest(
  "client share draws bars on a terminal, and its code can be read by a program all the same",
  async (place) => {
    await writeRandom(`${place.out}/a.bin`, 3_000_000);
    const home = `${place.folder}/home-out`;
    const line = await shellLine(["client", "share", "a.bin", "--relay", place.relay], home);
    const sending = onTerminal(`${line} >code`, { folder: place.out, home, columns: 60 });
    // Its failure is told below, once nobody waits for the code any more.
    sending.catch(() => {});
    const code = await until(
      "the code is in the file",
      async () => (await textOf(`${place.out}/code`)) || undefined,
    );
    await using receiver = await place.receive([code.trim(), "--yes"]);
    await receiver.ends(0);
    const shown = await sending;
    assert.equal(shown.code, 0, shown.raw);
    assert.match(code, /^[0-9]{6}-[a-z]+-[a-z]+-[a-z]+\n$/);
    assert(shown.screen.frames.some((frame) => frame.split("\n").some((each) => BAR.test(each))), shown.raw);
    assert(leftOn(shown).every((each) => !BAR.test(each)), shown.raw);
    assertRestored(shown);
  },
  ["--rate", "2000000"],
);

terminalTest(
  "client receive asks for the code, completes its words by Tab, shows the offer and asks",
  async (place) => {
    await Deno.writeTextFile(`${place.out}/.profile`, "x");
    await using sender = await place.share([".profile", "--code", "4815-ocean-rabbit-velvet"]);
    await sender.code();
    const shown = await received(place, [], {
      typings: [
        { after: /code: /, text: "4815\toce\t" },
        { after: /ocean-/, text: "xrabb\x7f\x7f\x7f\x7f\x7frab\tvelv\t\r" },
        // Who types a second Enter, or something else, has not said no.
        { after: /take it\? \[y\/n\] /, text: "\r" },
        { after: /take it\? \[y\/n\] /, text: "yy\r" },
        { after: /take it\? \[y\/n\] /, text: "y\r" },
      ],
    });
    assert.equal(shown.code, 0, shown.raw);
    await sender.ends(0);
    const left = leftOn(shown);
    assert.equal(left[0], "code: 4815-ocean-rabbit-velvet");
    assert.deepEqual(left.slice(-9, -1).map((line) => line.replace(/ in .*/, "")), [
      "offered: 1 file, 1 B",
      "  .profile  1 B  (hidden)",
      "hidden, as their names begin with a dot: 1 path",
      "  .profile",
      "take it? [y/n]",
      "take it? [y/n] yy",
      "take it? [y/n] y",
      "received and verified 1 file, 1 B",
    ]);
    assert.equal(await Deno.readTextFile(`${place.in}/.profile`), "x");
    assertRestored(shown);
  },
);

terminalTest("client receive writes nothing where the answer is no, and both sides say so", async (place) => {
  await Deno.writeTextFile(`${place.out}/a`, "x");
  await using sender = await place.share(["a"]);
  const shown = await received(place, [await sender.code()], {
    typings: [{ after: /take it\? \[y\/n\] /, text: "No\r" }],
  });
  assert.equal(shown.code, 1, shown.raw);
  await sender.ends(1);
  assert(leftOn(shown).includes("error: the offer was not accepted"), shown.raw);
  assert.match(sender.stderr, /^error: the other side ended the transfer: the offer was not accepted$/m);
  assert.deepEqual([...Deno.readDirSync(place.in)], []);
});

terminalTest(
  "client receive shows a text without what would drive the terminal, but with its lines and columns",
  async (place) => {
    await using sender = await place.share(["--text", "one\ttwo\nthree\x1b[2J\x07\u202e!"]);
    const shown = await received(place, [await sender.code(), "--yes"]);
    assert.equal(shown.code, 0, shown.raw);
    await sender.ends(0);
    assert(shown.raw.includes("one\ttwo\r\nthree\\u001b[2J\\u0007\\u202e!\r\n"), shown.raw);
    assert(!shown.raw.includes("\x1b[2J"));
  },
);

for (const [what, text] of [["Ctrl-C", "4815-oc\x03"], ["Ctrl-D", "\x04"]] as const) {
  terminalTest(
    `client receive sets the terminal back when ${what} ends the question for the code`,
    async (place) => {
      const shown = await received(place, [], { typings: [{ after: /code: /, text }] });
      assert.equal(shown.code, 1, shown.raw);
      assert.deepEqual(leftOn(shown).slice(1), [
        "error: no code was given, so nothing was received",
        "hint: run the same command again",
      ]);
      assertRestored(shown);
      assert.deepEqual([...Deno.readDirSync(place.in)], []);
    },
  );
}

terminalTest(
  "client receive asks again where no code was typed, as nothing was used by that",
  async (place) => {
    await using sender = await place.share(["--text", "x", "--code", "4815-ocean-rabbit-velvet"]);
    await sender.code();
    const shown = await received(place, ["--yes"], {
      typings: [
        { after: /code: /, text: "\r" },
        { after: /\ncode: /, text: "4815-ocean-rabbbit-velvet\r" },
        { after: /\ncode: /, text: " 4815 ocean rabbit velvet \r" },
      ],
    });
    assert.equal(shown.code, 0, shown.raw);
    await sender.ends(0);
    assert.deepEqual(leftOn(shown).slice(0, 6), [
      "code:",
      "no code was typed; Ctrl-C ends this",
      "code: 4815-ocean-rabbbit-velvet",
      "cannot read the code: its second word is not one of the list (did you mean rabbi",
      "t?); type it again",
      "code: 4815-ocean-rabbit-velvet-",
    ]);
  },
);

terminalTest(
  "Ctrl-C at the question ends it with a line of its own, and claims nothing that is kept",
  async (place) => {
    await Deno.writeTextFile(`${place.out}/a`, "x");
    await Deno.writeTextFile(`${place.in}/a`, "y");
    await using sender = await place.share(["a"]);
    const shown = await received(place, [await sender.code(), "--overwrite"], {
      typings: [{ after: /take it\? \[y\/n\] /, text: "\x03" }],
    });
    assert.equal(shown.code, 1, shown.raw);
    assert.deepEqual(leftOn(shown).slice(-7).filter((line) => !line.startsWith("waiting")), [
      "offered: 1 file, 1 B",
      "  a  1 B",
      "replaced, as --overwrite says: 1 file",
      "  a",
      "take it? [y/n] ^C",
      "error: the transfer was interrupted by Ctrl-C",
      "hint: nothing has arrived; run the same command again to begin",
    ]);
    assertRestored(shown);
    sender.kill("SIGINT");
    await sender.ends(1);
  },
);

terminalTest(
  "Ctrl-C while bars are drawn takes them away, sets the terminal back and says how to go on",
  async (place) => {
    await writeRandom(`${place.out}/a.bin`, 8_000_000);
    await using sender = await place.share(["a.bin"]);
    const code = await sender.code();
    const shown = await received(place, [code, "--yes"], { typings: [{ after: /2[0-9] %/, text: "\x03" }] });
    assert.equal(shown.code, 1, shown.raw);
    assertRestored(shown);
    const left = leftOn(shown);
    assert(left.every((line) => !BAR.test(line)), left.join("\n"));
    assert(left.includes("error: the transfer was interrupted by Ctrl-C"), left.join("\n"));
    sender.kill("SIGINT");
    await sender.ends(1);
  },
  ["--rate", "2000000"],
);

/** What stands between backquotes in the numbered lines of the help page, which may be broken over several. */
async function linesOfHelp(): Promise<string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", mainPath, "client", "share", "--help"],
  }).output();
  const text = new TextDecoder().decode(stdout).replaceAll("\n", " ");
  return [...text.matchAll(/ [1-9]\. `([^`]+)`/g)].map(([, line = ""]) => line);
}

terminalTest(
  "the three lines of client share --help, typed as they stand, move a file between terminals",
  async (place) => {
    const [relayLine = "", shareLine = "", receiveLine = "", ...more] = await linesOfHelp();
    assert.deepEqual(more, []);
    // It is the line that starts a relay, but for the port, which another test may have.
    assert.equal(relayLine, "postern server relay");
    const postern = `${Deno.execPath()} run -A ${mainPath}`;
    const typed = (line: string): string =>
      line.replace(/^postern /, `${postern} `).replace("HOST:8080", place.relay).replace(
        "FILE",
        "report.txt",
      );
    await Deno.writeTextFile(`${place.out}/report.txt`, "what was found\n");
    const sending = onTerminal(`${typed(shareLine)} | tee code`, {
      folder: place.out,
      home: `${place.folder}/home-out`,
      columns: 100,
    });
    sending.catch(() => {});
    const code = await until(
      "the code is shown",
      async () => (await textOf(`${place.out}/code`)) || undefined,
    );
    const shown = await onTerminal(typed(receiveLine), {
      folder: place.in,
      home: `${place.folder}/home-in`,
      columns: 100,
      typings: [{ after: /code: /, text: code.trim() + "\r" }, { after: /take it\? \[y\/n\] /, text: "y\r" }],
    });
    assert.equal(shown.code, 0, shown.raw);
    assert.equal((await sending).code, 0);
    assert.equal(await Deno.readTextFile(`${place.in}/report.txt`), "what was found\n");
  },
);
