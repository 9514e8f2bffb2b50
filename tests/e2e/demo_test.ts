/** `deno task demo`: runs through, and leaves nothing behind, also on Ctrl-C at any moment. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";
import { TempFolder } from "./temp_folder.ts";
import { until } from "./until.ts";

const TIME_LIMIT_MS = 20_000;
const CTRL_C_LIMIT_MS = 4_000;

/** The demo as a process group of its own, with a folder of its own for its temporary files. */
class Demo implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  output = "";

  private constructor(folder: TempFolder, words: readonly string[]) {
    this.folder = folder;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [...words],
      cwd: repositoryFolder,
      env: { TMPDIR: folder.path, NO_COLOR: "1" },
      detached: true,
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#reading = this.#read();
  }

  static async start(...words: string[]): Promise<Demo> {
    return new Demo(await TempFolder.make("demo"), words);
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stdout) this.output += decoder.decode(chunk, { stream: true });
  }

  async end(): Promise<Deno.CommandStatus> {
    const status = await this.#child.status;
    await this.#reading;
    return status;
  }

  /** What Ctrl-C does on a terminal: every process of the group gets the signal. */
  interruptGroup(): void {
    Deno.kill(-this.#child.pid, "SIGINT");
  }

  interrupt(): void {
    this.#child.kill("SIGINT");
  }

  /** Command lines of the processes that work in the demo's folder. */
  async processes(): Promise<string[]> {
    const found: string[] = [];
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^[0-9]+$/.test(name)) continue;
      // A process may be gone by the time it is looked at.
      const words = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
      if (words.includes(this.folder.path)) found.push(words.replaceAll("\0", " "));
    }
    return found;
  }

  async files(): Promise<string[]> {
    return (await Array.fromAsync(Deno.readDir(this.folder.path))).map(({ name }) => name);
  }

  async assertNothingLeft(): Promise<void> {
    assert.deepEqual(await this.files(), []);
    assert.deepEqual(await this.processes(), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      Deno.kill(-this.#child.pid, "SIGKILL");
    } catch {
      // The whole group has ended.
    }
    await this.end();
    await this.folder[Symbol.asyncDispose]();
  }
}

const DEMO = ["run", "-A", "scripts/demo.ts"];

Deno.test({
  name: "deno task demo explains each step, ends with 0 within 20 s and leaves nothing behind",
  timeout: 60_000,
  async fn(): Promise<void> {
    const started = performance.now();
    await using demo = await Demo.start("task", "demo");
    const { code } = await demo.end();
    assert.equal(code, 0, demo.output);
    assert(performance.now() - started < TIME_LIMIT_MS);
    for (
      const step of [
        /^1\. .*server.*commander.*key/m,
        /^2\. .*knocks: one datagram/m,
        /one datagram of 94 bytes/,
        /RUROCO_IP=127\.0\.0\.1/,
        /^3\. A lease/m,
        /the door is open for 127\.0\.0\.1/,
        /the door was closed again/,
        /^4\. /m,
        /refused \(replayed\), no answer/,
        /refused \(authentication\), no answer/,
        /refused \(unknown_key\), no answer/,
        /refused \(destination\), no answer/,
        /"hello" ran 1 time/,
      ]
    ) assert.match(demo.output, step);
    await demo.assertNothingLeft();
  },
});

Deno.test({
  name:
    "deno task demo transfer shows a cut cable, a kill and a guess, ends with 0 and leaves nothing behind",
  timeout: 120_000,
  async fn(): Promise<void> {
    await using demo = await Demo.start("task", "demo", "transfer");
    const { code } = await demo.end();
    assert.equal(code, 0, demo.output);
    for (
      const step of [
        /^1\. A relay that knows nothing/m,
        /--allow-net=127\.0\.0\.1:[0-9]+$/m,
        /^2\. The sender gets a code/m,
        /receive [0-9]{6}-[a-z]+-[a-z]+-[a-z]+/,
        /^3\. .*cuts its cable/m,
        /found each other again by a secret of their own/,
        /^4\. .*kill -9/m,
        /it goes on by itself: [0-9]+ of 256 MiB are still missing/,
        /all 21 files have the same SHA-256/,
        /nothing else lies in the receiver's folder/,
        /one guess was all/,
      ]
    ) assert.match(demo.output, step);
    await demo.assertNothingLeft();
  },
});

Deno.test({
  name:
    "deno task demo manage enrols, lists, runs, forwards, cuts and heals, ends with 0 and leaves nothing behind",
  timeout: 120_000,
  async fn(): Promise<void> {
    await using demo = await Demo.start("task", "demo", "manage");
    const { code } = await demo.end();
    assert.equal(code, 0, demo.output);
    for (
      const step of [
        /^1\. A management server/m,
        /server: +deno run --allow-net=127\.0\.0\.1:0 --allow-read=\S+\/server --allow-write=\S+\/server$/m,
        /^2\. .*makes its own key/m,
        /web1 +online .* prod /,
        /sha256sum on web1: [0-9a-f]{16}/,
        /exit code of another one came through: 3/,
        /exit code came back: 7/,
        /"HELLO THROUGH THE HOST"/,
        /cut: the host and the client both try again/,
        /mended: after [0-9.]+ s it is there again, and no line is missing or doubled/,
        /web1 refuses: exec not allowed by its agent\.toml/,
        /OK: [0-9]+ rows/,
      ]
    ) assert.match(demo.output, step);
    await demo.assertNothingLeft();
  },
});

Deno.test("deno task demo names its plays when it is asked for another one", async () => {
  await using demo = await Demo.start("task", "demo", "chess");
  assert.equal((await demo.end()).code, 2);
  assert.match(demo.output, /\[knock\|transfer\|manage\]/);
});

const INTERRUPTED: readonly (readonly [play: string, moment: RegExp])[] = [
  ["transfer", /photos\/: one file/],
  ["transfer", /postern client receive/],
  ["transfer", /^4\. /m],
  ["manage", /^1\. /m],
  ["manage", /^4\. /m],
  ["manage", /^ +ok +cut:/m],
];
for (const [play, moment] of INTERRUPTED) {
  Deno.test({
    name: `demo ${play} ends quickly and leaves nothing behind on Ctrl-C after "${moment.source}"`,
    timeout: 60_000,
    async fn(): Promise<void> {
      await using demo = await Demo.start(...DEMO, play);
      await until("that was shown", () => moment.test(demo.output), { pollMs: 1, timeoutMs: 40_000 });
      demo.interruptGroup();
      const { code, signal } = await demo.end();
      assert.notEqual(code, 0, demo.output);
      assert.equal(signal, null, "it must end by itself, after cleaning up");
      await demo.assertNothingLeft();
    },
  });
}

/** Moments at which somebody may press Ctrl-C, each as something that can be seen from outside. */
const moments: readonly (readonly [string, (demo: Demo) => Promise<boolean>])[] = [
  ["while the folder is being filled", async (demo) => (await demo.files()).length > 0],
  ["while the commander starts", async (demo) => (await demo.processes()).length > 0],
  ["after step 1", (demo) => Promise.resolve(/^1\. /m.test(demo.output))],
  ["during the first knock", (demo) => Promise.resolve(/^2\. /m.test(demo.output))],
  ["while the lease runs", (demo) => Promise.resolve(/door is open/.test(demo.output))],
  ["during the attacks", (demo) => Promise.resolve(/^4\. /m.test(demo.output))],
];

for (const [moment, isThere] of moments) {
  for (const whole of [true, false]) {
    Deno.test({
      name: `demo ends quickly and leaves nothing behind on ${
        whole ? "Ctrl-C" : "a signal to itself alone"
      } ${moment}`,
      timeout: 40_000,
      async fn(): Promise<void> {
        await using demo = await Demo.start(...DEMO);
        await until(moment, () => isThere(demo), { pollMs: 1 });
        const interruptedMs = performance.now();
        if (whole) demo.interruptGroup();
        else demo.interrupt();
        const { code, signal } = await demo.end();
        assert(performance.now() - interruptedMs < CTRL_C_LIMIT_MS);
        assert.notEqual(code, 0, demo.output);
        assert.equal(signal, null, "it must end by itself, after cleaning up");
        await demo.assertNothingLeft();
      },
    });
  }
}
