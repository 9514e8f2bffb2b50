import assert from "node:assert/strict";
import { hostShell } from "../../../../src/commander/agent/sessions/shell_session.ts";
import { parseAsciicastEvent, parseAsciicastHeader } from "../../../../src/protocol/manage/asciicast.ts";
import { pause, textOf, until } from "../../../e2e/until.ts";
import { succeeds, unless } from "../../../e2e/machine.ts";
import { FakeTimers } from "../../../protocol/rpc/fake_timers.ts";
import { isGone, stage, Viewer } from "./session_stage.ts";

const KIB = 1024;
const needsRoot = Deno.uid() === 0 ? null : "needs root";
const needsVi = await succeeds("vi", ["--version"]) ? null : "needs vi";
const needsTop = await succeeds("top", ["-v"]) ? null : "needs top";
const needsBash = await succeeds("bash", ["--version"]) ? null : "needs bash";

/** Types a line whose output cannot be taken for its echo, and gives what it printed. */
async function ask(viewer: Viewer, command: string): Promise<string> {
  const mark = crypto.randomUUID().slice(0, 8);
  viewer.type(`echo "[${mark}"-"$(${command})-${mark}]"\r`);
  return await viewer.shows(new RegExp(`\\[${mark}-([^]*?)-${mark}\\]`));
}

Deno.test("hostShell() gives a terminal of the size asked for, and nothing of how it was made", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers, { rows: 31, columns: 117, term: "screen-256color" });
  assert.equal(await ask(viewer, "stty size"), "31 117");
  assert.match(await ask(viewer, "tty"), /^\/dev\/pts\/[0-9]+$/);
  assert.equal(
    await ask(viewer, "echo $TERM:$HOME:$USER:$SHELL; pwd"),
    `screen-256color:${stand.folder}:tester:/bin/sh\r\n${stand.folder}`,
  );
  assert.equal(await ask(viewer, "env | grep -c POSTERN"), "0");
  viewer.type("ls -l /proc/$$/fd; echo lis''ted\r");
  await viewer.shows("listed\r\n");
  assert.doesNotMatch(viewer.text, / 3 -> /);
  viewer.type("exit 7\r");
  assert.deepEqual((await session.ended).ending, "done");
  assert.deepEqual(viewer.facts, [{ exitCode: 7 }]);
  assert.equal(await viewer.over, null);
  assert.doesNotMatch(viewer.text, /\+[0-9]+ \/dev|Script/);
});

Deno.test("hostShell() tells the program of another size", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  viewer.type("trap 'echo resized: $(stty size)' WINCH; echo rea''dy\r");
  await viewer.shows("ready\r\n");
  for (let columns = 100; columns <= 132; columns++) viewer.resize(40, columns);
  await until("the last size is set", async () => await ask(viewer, "stty size") === "40 132");
  assert.match(await viewer.shows(/resized: ([0-9 ]+)/), /^40 1/);
  viewer.leave();
  assert.equal((await session.ended).ending, "closed");
});

Deno.test("hostShell() carries escape sequences and all other bytes unchanged both ways", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  viewer.type(
    "stty raw -echo; printf 'be''gin'; printf '\\033[1;31mred\\033[0m\\007'; head -c 256 | od -An -v -tu1 | tr -d ' \\n'; printf end; stty sane\r",
  );
  await viewer.shows("begin\x1b[1;31mred\x1b[0m\x07");
  const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
  viewer.send(bytes);
  await viewer.shows(Array.from(bytes).join("") + "end");
  viewer.type("exit\r");
  await session.ended;
});

Deno.test("hostShell() lets Ctrl-C end a program and not the shell, and Ctrl-D the shell", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  viewer.type("echo star''ted; sleep 300\r");
  await viewer.shows("started");
  viewer.type("\x03");
  viewer.type("echo code: $?\r");
  assert.equal(await viewer.shows(/code: ([0-9]+)/), "130");
  viewer.type("(exit 3)\r");
  viewer.type("\x04");
  assert.deepEqual(await session.ended.then(({ ending, exitCode }) => [ending, exitCode]), ["done", 3]);
});

Deno.test("hostShell() gives 137 for a shell that was killed", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  viewer.type("kill -9 $$\r");
  assert.equal((await session.ended).exitCode, 137);
  assert.deepEqual(viewer.facts, [{ exitCode: 137 }]);
});

Deno.test({
  ...unless(needsBash, "hostShell() starts a login shell with job control"),
  fn: async () => {
    using stand = stage({ shellProgram: "/bin/bash" });
    Deno.writeTextFileSync(`${stand.folder}/.bash_profile`, "PROFILE=read\n");
    const session = hostShell(stand.ground, { outlivesLink: false });
    await using viewer = new Viewer(session.handlers);
    assert.equal(await ask(viewer, "echo $PROFILE"), "read");
    viewer.type("shopt -q login_shell && echo lo''gin; sleep 300 &\r");
    await viewer.shows("login\r\n");
    viewer.type("fg\r");
    await viewer.shows("sleep 300\r\n");
    viewer.type("\x1a");
    await viewer.shows(/Stopped/);
    viewer.leave();
    await session.ended;
    assert.doesNotMatch(viewer.text, /no job control|cannot set terminal/);
  },
});

for (
  const [program, obstacle, args, drawn, key, changed] of [
    ["vi", needsVi, "text", /~/, "ihello\x1b:wq\r", ""],
    ["top", needsTop, "-d 300", /load average/, "q", ""],
  ] as const
) {
  Deno.test({
    ...unless(obstacle, `hostShell() lets ${program} draw a screen and react to keys`),
    fn: async () => {
      using stand = stage();
      const session = hostShell(stand.ground, { outlivesLink: false });
      await using viewer = new Viewer(session.handlers, { rows: 30, columns: 100, term: "xterm-256color" });
      viewer.type(`${program} ${args}; echo le''ft\r`);
      await viewer.shows(drawn);
      viewer.type(key);
      await viewer.shows("left" + changed);
      viewer.type("cat text; exit\r");
      await session.ended;
      assert.equal(viewer.text.includes("hello\r\n"), program === "vi");
    },
  });
}

for (const how of ["exit", "leave", "signal", "connection"] as const) {
  Deno.test(`hostShell() leaves no process behind when the session ends by ${how}`, async () => {
    using stand = stage();
    const session = hostShell(stand.ground, { outlivesLink: false });
    await using viewer = new Viewer(session.handlers);
    const pids = await ask(
      viewer,
      "nohup sleep 300 >/dev/null 2>&1 & echo $!; (trap '' HUP TERM INT; exec sleep 301) >/dev/null & echo $!; echo $$",
    );
    switch (how) {
      case "exit":
        viewer.type("exit\r");
        break;
      case "leave":
        viewer.leave();
        break;
      case "signal":
        stand.signal("revoked");
        break;
      case "connection":
        viewer.pair.dialler.close("internal");
    }
    const { ending } = await session.ended;
    assert.equal(ending, { exit: "done", leave: "closed", signal: "revoked", connection: "lost" }[how]);
    for (const pid of pids.split(/\s+/)) await until(`${pid} is gone`, () => isGone(pid));
    assert.deepEqual(stand.logged, []);
  });
}

Deno.test("hostShell() tells the viewer why the host ends it", async () => {
  for (const ending of ["revoked", "expired", "agent_stopped"] as const) {
    using stand = stage();
    const session = hostShell(stand.ground, { outlivesLink: true });
    await using viewer = new Viewer(session.handlers);
    await ask(viewer, "true");
    session.end(ending);
    assert.equal(await viewer.over, null);
    const [fact] = viewer.facts;
    assert.ok(fact !== undefined && "ended" in fact);
    assert.equal(fact.ended, ending);
    assert.match(fact.text, /^web1 ended the session: /);
    assert.equal((await session.ended).ending, ending);
  }
});

Deno.test("hostShell() counts what was typed and shown", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  viewer.type("exit\r");
  const { bytesIn, bytesOut } = await session.ended;
  await viewer.over;
  assert.deepEqual([bytesIn, bytesOut], [5, viewer.text.length]);
});

Deno.test("hostShell() makes a program wait whose output the viewer does not take, and holds little of it", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: false });
  const viewer = new Viewer(session.handlers, {}, { paused: true });
  viewer.type(
    `i=0; while [ $i -lt 200 ]; do head -c 65536 /dev/zero; i=$((i+1)); echo $i >count; done; exit 0\r`,
  );
  const count = (): string => Deno.readTextFileSync(`${stand.folder}/count`);
  await until("the program writes", () => exists(`${stand.folder}/count`));
  let before = "", same = 0;
  await until("the program waits", () => {
    const now = count();
    same = now === before ? same + 1 : 0;
    before = now;
    return same > 20;
  });
  assert.ok(Number(before) < 100, `${before} of 200 pieces`);
  viewer.go();
  assert.equal((await session.ended).ending, "done");
  await viewer.over;
  assert.ok(viewer.text.length >= 200 * 65_536);
  await viewer[Symbol.asyncDispose]();
});

Deno.test("hostShell() goes on without a viewer, and gives what was missed", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: true });
  let seenBytes: number;
  {
    await using viewer = new Viewer(session.handlers);
    await ask(viewer, "true");
    viewer.type(
      "while [ ! -e go ]; do sleep 0.02; done; for i in 1 2 3; do echo mis''sed $i; done; touch done\r",
    );
    await viewer.shows("touch done\r\n");
    seenBytes = viewer.text.length;
    assert.equal(session.isDetached, false);
    viewer.cancel();
    await viewer.over;
  }
  assert.equal(session.isDetached, true);
  Deno.writeTextFileSync(`${stand.folder}/go`, "");
  await until("the output is there", () => exists(`${stand.folder}/done`));
  await using again = new Viewer(session.attach(), { seenBytes, rows: 50, columns: 90 });
  await again.shows("missed 3\r\n");
  assert.ok(again.text.startsWith("missed 1\r\nmissed 2\r\nmissed 3\r\n"), again.text);
  assert.deepEqual(again.facts, []);
  await until("the window has the new size", async () => await ask(again, "stty size") === "50 90");
  again.type("exit 4\r");
  assert.deepEqual(await session.ended.then(({ ending, exitCode }) => [ending, exitCode]), ["done", 4]);
  assert.deepEqual(again.facts, [{ exitCode: 4 }]);
});

Deno.test("hostShell() says how much of the missed output it has no more", async () => {
  using stand = stage({ scrollbackBytes: 128 * KIB });
  const session = hostShell(stand.ground, { outlivesLink: true });
  let seenBytes: number;
  {
    await using viewer = new Viewer(session.handlers);
    await ask(viewer, "true");
    viewer.type(
      "stty raw -echo; while [ ! -e go ]; do sleep 0.02; done; head -c 1000000 /dev/zero; printf end; touch done\r",
    );
    await viewer.shows("touch done");
    await viewer.shows(/\n$/);
    seenBytes = viewer.text.length;
    viewer.cancel();
    await viewer.over;
  }
  Deno.writeTextFileSync(`${stand.folder}/go`, "");
  await until("the output is there", () => exists(`${stand.folder}/done`));
  await using again = new Viewer(session.attach(), { seenBytes });
  await again.shows("end");
  const [fact] = again.facts;
  assert.ok(fact !== undefined && "skippedBytes" in fact);
  const missed = fact.skippedBytes + again.text.indexOf("end") + 3;
  assert.equal(missed, 1_000_003);
  // Some of it may have been on its way when the viewer came.
  assert.ok(fact.skippedBytes > 600_000, `${fact.skippedBytes} bytes`);
  again.leave();
  assert.equal((await session.ended).ending, "closed");
});

Deno.test("hostShell() gives what is new to a viewer that claims to have seen more than there was", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: true });
  {
    await using viewer = new Viewer(session.handlers);
    await ask(viewer, "true");
  }
  await using again = new Viewer(session.attach(), { seenBytes: 1e12 });
  assert.equal(await ask(again, "echo new"), "new");
  assert.deepEqual(again.facts, []);
  again.leave();
  await session.ended;
});

Deno.test("hostShell() hands the shell over to a newer viewer and tells the old one", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: true });
  await using first = new Viewer(session.handlers);
  await ask(first, "true");
  const stale = session.attach();
  await using second = new Viewer(session.attach(), { seenBytes: first.text.length });
  assert.equal(await first.over, null);
  const [fact] = first.facts;
  assert.ok(fact !== undefined && "ended" in fact);
  assert.equal(fact.ended, "replaced");
  assert.equal(await ask(second, "echo here"), "here");
  await using third = new Viewer(stale);
  assert.match(String(await third.over), /web1 refuses: a session that is over, or was taken up elsewhere/);
  assert.equal(await ask(second, "echo still"), "still");
  second.leave();
  assert.equal((await session.ended).ending, "closed");
  await using late = new Viewer(session.attach());
  assert.match(String(await late.over), /web1 refuses: shell in a session that is over/);
});

Deno.test("hostShell() is abandoned when nobody takes it up in time", async () => {
  const timers = new FakeTimers();
  using stand = stage({ detachGraceMs: 1000 }, { timers });
  const session = hostShell(stand.ground, { outlivesLink: true });
  {
    await using viewer = new Viewer(session.handlers);
    await ask(viewer, "true");
    await timers.pass(100_000);
    viewer.pair.dialler.close("internal");
    await viewer.over;
  }
  session.viewerLost();
  await timers.pass(999);
  {
    await using viewer = new Viewer(session.attach());
    await ask(viewer, "true");
    await timers.pass(100_000);
    viewer.cancel();
    await viewer.over;
  }
  await timers.pass(1000);
  assert.equal((await session.ended).ending, "abandoned");
  assert.equal(timers.pending, 0);
});

for (const how of ["cancel", "internal", "normal"] as const) {
  Deno.test(`hostShell() waits for another viewer where the first one is lost while the shell starts ("${how}")`, async () => {
    using stand = stage({ detachGraceMs: 100 });
    const session = hostShell(stand.ground, { outlivesLink: true });
    await using viewer = new Viewer(session.handlers);
    await Promise.resolve();
    if (how === "cancel") viewer.cancel();
    else viewer.pair.dialler.close(how);
    session.viewerLost();
    // And not for ever: nobody may be coming.
    assert.equal((await session.ended).ending, "abandoned");
  });
}

Deno.test("hostShell() is abandoned when whoever took it up never comes", async () => {
  const timers = new FakeTimers();
  using stand = stage({ detachGraceMs: 1000 }, { timers });
  const session = hostShell(stand.ground, { outlivesLink: true });
  await using viewer = new Viewer(session.handlers);
  await ask(viewer, "true");
  const handlers = session.attach();
  await viewer.over;
  assert.equal(session.isDetached, true);
  await timers.pass(1000);
  assert.equal((await session.ended).ending, "abandoned");
  await using late = new Viewer(handlers);
  assert.match(String(await late.over), /web1 refuses: a session that is over/);
});

Deno.test("hostShell() is not over before a slow viewer has everything, or is gone", async () => {
  for (const ending of ["read", "lost", "ended"] as const) {
    using stand = stage();
    const session = hostShell(stand.ground, { outlivesLink: false });
    const viewer = new Viewer(session.handlers, {}, { paused: true, limits: { streamWindowBytes: 1 } });
    let isOver = false;
    void session.ended.then(() => isOver = true);
    // Less than what makes the shell wait, and more than what the viewer has taken or has credit for.
    viewer.type("stty -echo; echo $$ >pid; head -c 50000 /dev/zero; exit 3\r");
    await until("the shell has ended", async () => {
      const pid = (await textOf(`${stand.folder}/pid`))?.trim();
      return pid !== undefined && pid !== "" && await isGone(pid);
    });
    // Long enough for a session that waits for nobody.
    await pause(300);
    assert.equal(isOver, false);
    if (ending === "lost") session.viewerLost();
    if (ending === "ended") session.end("agent_stopped");
    if (ending === "read") viewer.go();
    assert.deepEqual(await session.ended.then((result) => [result.ending, result.exitCode]), ["done", 3]);
    viewer.go();
    await viewer.over;
    assert.deepEqual(viewer.facts, ending === "read" ? [{ exitCode: 3 }] : []);
    await viewer[Symbol.asyncDispose]();
  }
});

Deno.test("hostShell() does not wait for a viewer that reads nothing when the host ends it", async () => {
  const timers = new FakeTimers();
  using stand = stage({}, { timers });
  const session = hostShell(stand.ground, { outlivesLink: true });
  const viewer = new Viewer(session.handlers, {}, { paused: true, limits: { streamWindowBytes: 1 } });
  // So much that the viewer cannot have been sent all of it.
  viewer.type("echo $$ >pid; yes | head -c 20000; echo much >much; yes\r");
  await until("there is much to see", async () => await textOf(`${stand.folder}/much`) !== undefined);
  const pid = await until("the shell is there", () => textOf(`${stand.folder}/pid`));
  session.end("revoked");
  await until("the shell is gone", () => isGone(pid.trim()));
  await until("it waits for the viewer", () => timers.pending === 1);
  await timers.pass(1000);
  assert.equal((await session.ended).ending, "revoked");
  viewer.go();
  await viewer[Symbol.asyncDispose]();
});

Deno.test("hostShell() is abandoned when no shell is asked for in time", async () => {
  const timers = new FakeTimers();
  using stand = stage({}, { timers });
  const session = hostShell(stand.ground, { outlivesLink: true });
  await timers.pass(30_000);
  assert.equal((await session.ended).ending, "abandoned");
});

Deno.test("hostShell() that does not outlive its link ends with its viewer", async () => {
  for (const ending of ["lost", "closed"] as const) {
    using stand = stage();
    const session = hostShell(stand.ground, { outlivesLink: false });
    await using viewer = new Viewer(session.handlers);
    await ask(viewer, "true");
    if (ending === "lost") session.viewerLost();
    else viewer.cancel();
    assert.equal((await session.ended).ending, ending);
  }
});

Deno.test("hostShell() says why a shell cannot be started", async () => {
  using stand = stage({ shellProgram: "/no/such/shell" });
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  assert.deepEqual(await session.ended.then(({ ending, exitCode }) => [ending, exitCode]), ["done", 127]);
  assert.match(viewer.text, /\/no\/such\/shell: not found/);
});

Deno.test("hostShell() runs nothing where it cannot become the user", async () => {
  using stand = stage();
  const account = { ...stand.ground.config.account, uid: 4_000_000_000 };
  const config = { ...stand.ground.config, runAs: "ghost", account: { ...account, gid: -1 } };
  const session = hostShell({ ...stand.ground, config }, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  await session.ended;
  assert.match(viewer.text, /setpriv: /);
  assert.doesNotMatch(viewer.text, /\$ |# /);
});

Deno.test("hostShell() ends the call of a viewer that sends what it may not", async () => {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  await ask(viewer, "true");
  viewer.send(new Uint8Array(0));
  assert.match(String(await viewer.over), /an item for "shell"/);
  assert.equal((await session.ended).ending, "closed");
});

Deno.test("hostShell() records what is shown and the sizes, for its owner only", async () => {
  using stand = stage();
  const record = `${stand.folder}/records`;
  Deno.mkdirSync(record);
  const session = hostShell({ ...stand.ground, config: { ...stand.ground.config, record } }, {
    outlivesLink: false,
  });
  await using viewer = new Viewer(session.handlers, { rows: 20, columns: 70 });
  await ask(viewer, "printf 'gr\\303\\274n'");
  viewer.resize(33, 77);
  viewer.type("stty -echo; echo rea''dy; read secret; stty echo; exit\r");
  await viewer.shows("ready\r\n");
  viewer.type("hunter2\r");
  await session.ended;
  const [file, ...more] = [...Deno.readDirSync(record)];
  assert.ok(file !== undefined && more.length === 0);
  assert.match(file.name, /^[0-9]{8}T[0-9]{6}Z-0123456789abcdef\.cast$/);
  assert.equal((Deno.statSync(`${record}/${file.name}`).mode ?? 0) & 0o777, 0o600);
  const text = Deno.readTextFileSync(`${record}/${file.name}`);
  assert.doesNotMatch(text, /hunter2/);
  const [header = "", ...lines] = text.trimEnd().split("\n");
  const { timestamp, ...rest } = parseAsciicastHeader(header);
  assert.ok(timestamp !== null && Math.abs(timestamp - Date.now() / 1000) < 3600);
  assert.deepEqual(rest, { width: 70, height: 20, title: "anna", term: "xterm" });
  const events = lines.map(parseAsciicastEvent);
  const shown = events.map((event) => event.kind === "output" ? event.text : "").join("");
  assert.equal(
    shown,
    new TextDecoder().decode(Uint8Array.from(viewer.text, (letter) => letter.charCodeAt(0))),
  );
  assert.deepEqual(events.filter(({ kind }) => kind === "resize").map((event) => ({ ...event, atMs: 0 })), [
    { kind: "resize", atMs: 0, rows: 33, columns: 77 },
  ]);
});

Deno.test("hostShell() refuses a shell that must be recorded and cannot be", async () => {
  using stand = stage({ record: "/nonexistent/records" });
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  assert.match(String(await viewer.over), /web1 refuses: a shell that cannot be recorded/);
  assert.equal((await session.ended).ending, "failed");
  assert.match(stand.logged.join(""), /ERROR agent: shell refused: it cannot be recorded/);
});

Deno.test("hostShell() ends a shell whose recording breaks off, and shows nothing that is not recorded", async () => {
  using stand = stage();
  using disk = new SmallDisk(2000);
  const config = { ...stand.ground.config, record: stand.folder };
  const session = hostShell({ ...stand.ground, config }, { outlivesLink: true });
  await using viewer = new Viewer(session.handlers);
  viewer.type("i=0; while :; do i=$((i + 1)); echo $i; done\r");
  assert.match(String(await viewer.over), /web1 ended the session: it cannot be recorded any more/);
  assert.equal((await session.ended).ending, "failed");
  assert.ok(viewer.text.length > 0 && viewer.text.length <= 2000, `${viewer.text.length} bytes`);
  assert.match(stand.logged.join(""), /ERROR agent: shell ended: it cannot be recorded any more/);
  assert.equal(disk.refused, true);
});

Deno.test({
  ...unless(needsRoot, "hostShell() runs as another user who owns the terminal"),
  fn: async () => {
    using stand = stage({
      runAs: "nobody",
      account: { name: "nobody", uid: 65_534, gid: 65_534, home: "/nonexistent", shell: "/bin/sh" },
    });
    const session = hostShell(stand.ground, { outlivesLink: false });
    await using viewer = new Viewer(session.handlers);
    assert.equal(
      await ask(viewer, "id -u; id -g; id -G; pwd; stat -c %u $(tty)"),
      "65534\r\n65534\r\n65534\r\n/\r\n65534",
    );
    const pids = await ask(viewer, "nohup sleep 300 >/dev/null 2>&1 & echo $!; echo $$");
    viewer.resize(44, 111);
    await until("the size is set", async () => await ask(viewer, "stty size") === "44 111");
    viewer.leave();
    await session.ended;
    for (const pid of pids.split(/\s+/)) await until(`${pid} is gone`, () => isGone(pid));
  },
});

/** Files that are opened meanwhile take so many bytes and no more. */
class SmallDisk implements Disposable {
  readonly #open = Deno.open;
  refused = false;

  constructor(bytes: number) {
    const open = this.#open;
    let left = bytes;
    Deno.open = async (...asked): Promise<Deno.FsFile> => {
      const file = await open(...asked);
      const write = file.write.bind(file);
      file.write = (piece): Promise<number> => {
        left -= piece.length;
        this.refused = left < 0;
        return this.refused ? Promise.reject(new Error("no space left on the device")) : write(piece);
      };
      return file;
    };
  }

  [Symbol.dispose](): void {
    Deno.open = this.#open;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
