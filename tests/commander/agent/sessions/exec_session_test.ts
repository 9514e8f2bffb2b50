import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { ExecOutput } from "../../../../src/protocol/manage/session_contract.ts";
import { ApplicationError } from "../../../../src/protocol/rpc/errors.ts";
import type { Items } from "../../../../src/protocol/rpc/contract.ts";
import { hostExec } from "../../../../src/commander/agent/sessions/exec_session.ts";
import type { HostedSession } from "../../../../src/commander/agent/sessions/hosted_session.ts";
import { pause, textOf, until } from "../../../e2e/until.ts";
import { FakeTimers } from "../../../protocol/rpc/fake_timers.ts";
import { isGone, ItemQueue, join, type Printed, printed, stage } from "./session_stage.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const NO_BYTES = new Uint8Array(0);
const MIB = 1024 * 1024;
const encoder = new TextEncoder();

/** Runs a command to its end. */
async function run(
  session: HostedSession,
  command: readonly string[],
  input: Items<Bytes> = [],
): Promise<Printed & Awaited<HostedSession["ended"]>> {
  await using pair = join(session.handlers);
  const all = await printed(pair.dialler.client.exec({ command }, input));
  return { ...all, ...await session.ended };
}

function shell(script: string, ...args: string[]): string[] {
  return ["/bin/sh", "-c", script, "sh", ...args];
}

Deno.test("hostExec() gives the outputs apart, then the exit code", async () => {
  using stand = stage();
  const result = await run(hostExec(stand.ground), shell("echo out; echo err >&2; exit 7"));
  assert.deepEqual(result, {
    stdout: "out\n",
    stderr: "err\n",
    facts: [{ exitCode: 7 }],
    ending: "done",
    exitCode: 7,
    bytesIn: 0,
    bytesOut: 8,
  });
});

Deno.test("hostExec() hands the arguments over as they are", async () => {
  using stand = stage();
  const words = ["a b", "", "$HOME", "*", "-n", "'\"\\", "new\nline", "ü€"];
  const { stdout } = await run(hostExec(stand.ground), ["printf", "<%s>", ...words]);
  assert.equal(stdout, words.map((word) => `<${String.fromCharCode(...encoder.encode(word))}>`).join(""));
});

Deno.test("hostExec() starts from a clean environment in the user's home folder", async () => {
  using stand = stage();
  const { stdout } = await run(hostExec(stand.ground), shell("pwd -P; env -u _ -u SHLVL -u PWD | sort"));
  assert.deepEqual(stdout.split("\n"), [
    Deno.realPathSync(stand.folder),
    `HOME=${stand.folder}`,
    "LANG=C.UTF-8",
    "LOGNAME=tester",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SHELL=/bin/sh",
    "USER=tester",
    "",
  ]);
});

Deno.test("hostExec() begins in / when there is no home folder", async () => {
  using stand = stage();
  const account = { ...stand.ground.config.account, home: `${stand.folder}/nowhere` };
  const ground = { ...stand.ground, config: { ...stand.ground.config, account } };
  assert.equal((await run(hostExec(ground), ["pwd"])).stdout, "/\n");
});

Deno.test("hostExec() says as a shell does that a program cannot be started", async () => {
  using stand = stage();
  const path = `${stand.folder}/file`;
  Deno.writeTextFileSync(path, "x", { mode: 0o600 });
  for (
    const [program, exitCode, text] of [
      ["no-such-program", 127, /no-such-program: not found/],
      ["-c", 127, /-c: not found/],
      [path, 126, /ermission denied/],
    ] as const
  ) {
    const result = await run(hostExec(stand.ground), [program, "x"]);
    assert.deepEqual(result.facts, [{ exitCode }], program);
    assert.match(result.stderr, text);
  }
});

Deno.test("hostExec() gives 128 and the number of the signal that ended the program", async () => {
  using stand = stage();
  assert.equal((await run(hostExec(stand.ground), shell("kill -9 $$"))).exitCode, 137);
  assert.equal((await run(hostExec(stand.ground), shell("kill -15 $$"))).exitCode, 143);
});

Deno.test("hostExec() carries any bytes in and out", async () => {
  using stand = stage();
  const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
  const { stdout, bytesIn, bytesOut } = await run(hostExec(stand.ground), ["cat"], [bytes, bytes]);
  assert.equal(stdout, String.fromCharCode(...bytes, ...bytes));
  assert.deepEqual([bytesIn, bytesOut], [512, 512]);
});

Deno.test("hostExec() ends standard input with an empty item, and with the end of the items", async () => {
  using stand = stage();
  const items = new ItemQueue<Bytes>();
  items.push(encoder.encode("abc"));
  items.push(NO_BYTES);
  assert.equal((await run(hostExec(stand.ground), ["wc", "-c"], items)).stdout, "3\n");
  assert.equal((await run(hostExec(stand.ground), ["wc", "-c"], [encoder.encode("abcd")])).stdout, "4\n");
});

Deno.test("hostExec() carries 100 MB through a program unchanged", async () => {
  using stand = stage();
  const piece = crypto.getRandomValues(new Uint8Array(64 * 1024)), pieces = 1600;
  const session = hostExec(stand.ground);
  await using pair = join(session.handlers);
  const sent = createHash("sha256"), came = createHash("sha256");
  for (let at = 0; at < pieces; at++) sent.update(piece);
  for await (const item of pair.dialler.client.exec({ command: ["cat"] }, Array(pieces).fill(piece))) {
    if ("stdout" in item) {
      came.update(item.stdout);
    }
  }
  assert.equal(came.digest("hex"), sent.digest("hex"));
  assert.equal((await session.ended).exitCode, 0);
});

Deno.test("hostExec() wants no more input of a program that has closed it", async () => {
  using stand = stage();
  const items = new ItemQueue<Bytes>();
  const session = hostExec(stand.ground);
  const result = run(
    session,
    shell('exec <&-; while [ ! -e "$1" ]; do sleep 0.05; done', `${stand.folder}/go`),
    items,
  );
  const piece = new Uint8Array(32 * 1024);
  await until("the input is stopped", () => {
    items.push(piece);
    return items.wasStopped;
  });
  Deno.writeTextFileSync(`${stand.folder}/go`, "");
  assert.deepEqual((await result).facts, [{ exitCode: 0 }]);
});

Deno.test("hostExec() holds little of an input that the program never reads", async () => {
  using stand = stage();
  const session = hostExec(stand.ground);
  let sent = 0;
  const endless = function* (): Generator<Bytes> {
    for (;;) {
      sent += MIB / 16;
      yield new Uint8Array(MIB / 16);
    }
  };
  await using pair = join(session.handlers);
  const output = printed(pair.dialler.client.exec({ command: shell("sleep 0.5; exit 3") }, endless()));
  assert.deepEqual((await output).facts, [{ exitCode: 3 }]);
  assert.ok(sent < 4 * MIB, `${sent} bytes`);
  await session.ended;
});

Deno.test("hostExec() makes a program wait whose output nobody takes", async () => {
  using stand = stage();
  const session = hostExec(stand.ground);
  await using pair = join(session.handlers);
  const script = 'i=0; while [ $i -lt 200 ]; do head -c 65536 /dev/zero; i=$((i + 1)); echo $i >"$1"; done';
  const output = pair.dialler.client.exec({ command: shell(script, `${stand.folder}/count`) }, []);
  const { value: first } = await output.next();
  const count = (): string => Deno.readTextFileSync(`${stand.folder}/count`);
  await until("the program writes", () => textOf(`${stand.folder}/count`));
  let before = "", same = 0;
  await until("the program waits", () => {
    const now = count();
    same = now === before ? same + 1 : 0;
    before = now;
    return same > 20;
  });
  assert.ok(Number(before) < 100, `${before} of 200 pieces`);
  let bytes = (first as { stdout: Bytes }).stdout.length;
  for await (const item of output) {
    bytes += "stdout" in item ? item.stdout.length : 0;
  }
  assert.equal(bytes, 200 * 65_536);
  await session.ended;
});

Deno.test("hostExec() gives all of a large output whose program has ended already", async () => {
  using stand = stage();
  const { stdout, facts } = await run(hostExec(stand.ground), shell("head -c 3000000 /dev/zero"));
  assert.equal(stdout.length, 3_000_000);
  assert.deepEqual(facts, [{ exitCode: 0 }]);
});

Deno.test("hostExec() gives what stands in the pipes of a program that has ended to a slow caller", async () => {
  using stand = stage();
  const session = hostExec(stand.ground);
  await using pair = join(session.handlers, { streamWindowBytes: 1 });
  const script = 'for i in a b c d; do echo $i; sleep 0.05; done; echo $$ >"$1"; exit 3';
  const output = pair.dialler.client.exec({ command: shell(script, `${stand.folder}/pid`) }, []);
  const pid = await until("the program is about to end", () => textOf(`${stand.folder}/pid`));
  await until("it has ended", () => isGone(pid.trim()));
  // Longer than the silence after which an output that nobody writes to is given up.
  await pause(400);
  const { stdout, facts } = await printed(output);
  assert.deepEqual([stdout, facts], ["a\nb\nc\nd\n", [{ exitCode: 3 }]]);
  assert.equal((await session.ended).bytesOut, 8);
});

Deno.test("hostExec() does not wait for a caller that reads nothing when the host ends it", async () => {
  const timers = new FakeTimers();
  using stand = stage({}, { timers });
  const session = hostExec(stand.ground);
  await using pair = join(session.handlers, { streamWindowBytes: 1 });
  const script = 'for i in a b c d; do echo $i; sleep 0.05; done; touch "$1"; sleep 300';
  const command = shell(script, `${stand.folder}/printed`);
  const output = pair.dialler.client.exec({ command }, new ItemQueue<Bytes>());
  await output.next();
  await until("more is there than the caller has credit for", async () => {
    return await textOf(`${stand.folder}/printed`) !== undefined;
  });
  session.end("revoked");
  await until("it waits for the caller", () => timers.pending === 1);
  await timers.pass(1000);
  assert.equal((await session.ended).ending, "revoked");
});

Deno.test("hostExec() kills what the program left in the background, and waits for none of it", async () => {
  using stand = stage();
  const script = "nohup sleep 300 >/dev/null 2>&1 & sleep 301 & echo $! $(jobs -p); exit 4";
  const { stdout, facts } = await run(hostExec(stand.ground), shell(script));
  assert.deepEqual(facts, [{ exitCode: 4 }]);
  for (const pid of stdout.trim().split(/\s+/)) {
    await until(`${pid} is gone`, () => isGone(pid));
  }
});

Deno.test("hostExec() does not wait for a process of another session that holds the outputs", async () => {
  using stand = stage();
  const script =
    'setsid sh -c \'echo $$; exec sleep 300\' & while [ ! -s "$1" ]; do sleep 0.01; echo x >"$1"; done; exit 5';
  const session = hostExec(stand.ground);
  await using pair = join(session.handlers);
  const { stdout, facts } = await printed(
    pair.dialler.client.exec({ command: shell(script, `${stand.folder}/x`) }, []),
  );
  assert.deepEqual(facts, [{ exitCode: 5 }]);
  await session.ended;
  Deno.kill(Number(stdout), "SIGKILL");
});

Deno.test("hostExec() does not wait for a process of another session that prints for ever", async () => {
  using stand = stage();
  const script =
    `setsid sh -c 'echo $$ >"$0"; exec yes' "$1" & while [ ! -s "$1" ]; do sleep 0.01; done; exit 6`;
  const session = hostExec(stand.ground);
  await using pair = join(session.handlers);
  const output = pair.dialler.client.exec({ command: shell(script, `${stand.folder}/pid`) }, []);
  const { facts } = await printed(output);
  assert.deepEqual(facts, [{ exitCode: 6 }]);
  await session.ended;
  const pid = Deno.readTextFileSync(`${stand.folder}/pid`).trim();
  // Nobody reads what it prints any more.
  await until("it is gone", () => isGone(pid));
});

Deno.test("hostExec() shows one output though the program floods the other one", async () => {
  using stand = stage();
  const session = hostExec(stand.ground);
  await using pair = join(session.handlers);
  const output = pair.dialler.client.exec({ command: shell("yes out & yes err >&2 & sleep 300") }, []);
  const counts = { stdout: 0, stderr: 0 };
  let items = 0;
  for await (const item of output) {
    if ("stdout" in item) counts.stdout++;
    if ("stderr" in item) counts.stderr++;
    if (++items === 400) break;
  }
  assert.ok(Math.min(counts.stdout, counts.stderr) > 20, JSON.stringify(counts));
  assert.equal((await session.ended).ending, "closed");
});

Deno.test("hostExec() ends the program when the caller gives up", async () => {
  using stand = stage();
  const session = hostExec(stand.ground);
  await using pair = join(session.handlers);
  const controller = new AbortController();
  const output = pair.dialler.client.exec(
    { command: shell("echo $$; exec sleep 300") },
    new ItemQueue<Bytes>(),
    {
      signal: controller.signal,
    },
  );
  const { value } = await output.next();
  const pid = new TextDecoder().decode((value as { stdout: Bytes }).stdout).trim();
  controller.abort();
  assert.deepEqual(await session.ended, {
    ending: "closed",
    exitCode: null,
    bytesIn: 0,
    bytesOut: pid.length + 1,
  });
  await until("the program is gone", () => isGone(pid));
});

for (const [ending, how] of [["closed", "normal"], ["lost", "internal"]] as const) {
  Deno.test(`hostExec() ends as "${ending}" when the connection is closed as "${how}"`, async () => {
    using stand = stage();
    const session = hostExec(stand.ground);
    await using pair = join(session.handlers);
    const output = printed(pair.dialler.client.exec({ command: ["sleep", "300"] }, new ItemQueue<Bytes>()));
    const failed = assert.rejects(output);
    pair.dialler.close(how);
    await failed;
    assert.equal((await session.ended).ending, ending);
  });
}

for (const how of ["normal", "internal", "cancel", "unreadable"] as const) {
  Deno.test(`hostExec() lets the program find no end of an input that was cut off ("${how}")`, async () => {
    using stand = stage();
    const session = hostExec(stand.ground);
    await using pair = join(session.handlers);
    const controller = new AbortController();
    const unreadable = Promise.withResolvers<void>();
    // What a shell is given without its last line feed it runs at the end of its input.
    const input = async function* (): AsyncGenerator<Bytes> {
      yield encoder.encode(`trap "" HUP TERM; cd '${stand.folder}' && echo ready\n : > half-a-line`);
      await unreadable.promise;
    };
    const output = pair.dialler.client.exec({ command: ["/bin/sh"] }, input(), { signal: controller.signal });
    await output.next();
    unreadable.promise.catch(() => {});
    if (how === "unreadable") unreadable.reject(new Error("a disk fails"));
    else if (how === "cancel") controller.abort();
    else pair.dialler.close(how);
    await session.ended;
    unreadable.resolve();
    assert.deepEqual([...Deno.readDirSync(stand.folder)], []);
  });
}

Deno.test("hostExec() tells the caller that the host ends it, and kills what ignores a hang-up", async () => {
  for (const ending of ["revoked", "expired", "agent_stopped"] as const) {
    using stand = stage();
    const session = hostExec(stand.ground);
    await using pair = join(session.handlers);
    const output = pair.dialler.client.exec(
      { command: shell('trap "" HUP TERM; echo $$; while :; do sleep 0.1; done') },
      new ItemQueue<Bytes>(),
    );
    const { value } = await output.next();
    const pid = new TextDecoder().decode((value as { stdout: Bytes }).stdout).trim();
    stand.signal(ending);
    const { facts } = await printed(output as AsyncIterable<ExecOutput>);
    const [fact] = facts;
    assert.ok(fact !== undefined && "ended" in fact);
    assert.equal(fact.ended, ending);
    assert.match(fact.text, /^web1 ended the session: /);
    assert.equal((await session.ended).ending, ending);
    await until("the program is gone", () => isGone(pid));
  }
});

Deno.test("hostExec() refuses what agent.toml does not allow, and any second program", async () => {
  using stand = stage({}, {
    mayRun: ([program]) => program === "true" ? null : "web1 refuses: not this one",
  });
  const refused = hostExec(stand.ground);
  await assert.rejects(run(refused, ["false"]), (error) => {
    assert.ok(error instanceof ApplicationError);
    assert.deepEqual([error.reason, error.message], ["refused_by_host", "web1 refuses: not this one"]);
    return true;
  });
  assert.equal((await refused.ended).ending, "failed");

  const session = hostExec(stand.ground);
  await using pair = join(session.handlers);
  const { exec, shell, connect } = pair.dialler.client;
  assert.deepEqual((await printed(exec({ command: ["true"] }, []))).facts, [{ exitCode: 0 }]);
  const calls = [
    exec({ command: ["true"] }, []),
    shell({ rows: 1, columns: 1, term: "x", seenBytes: 0 }, []),
    connect({ host: "localhost", port: 1 }, []),
  ];
  for (const call of calls) {
    await assert.rejects((call as AsyncIterableIterator<unknown>).next(), /web1 refuses: /);
  }
  await session.ended;
});

Deno.test("hostExec() is abandoned when no program is asked for in time", async () => {
  const timers = new FakeTimers();
  using stand = stage({}, { timers });
  const session = hostExec(stand.ground);
  await timers.pass(30_000);
  assert.equal((await session.ended).ending, "abandoned");
  await assert.rejects(run(session, ["true"]), /web1 ended the session/);
});

Deno.test({
  name: "hostExec() runs as another user with the groups of that user only" +
    (Deno.uid() === 0 ? "" : " (ignored: needs root)"),
  ignore: Deno.uid() !== 0,
  fn: async () => {
    using stand = stage({
      runAs: "nobody",
      account: { name: "nobody", uid: 65_534, gid: 65_534, home: "/nonexistent", shell: "/bin/sh" },
    });
    const session = hostExec(stand.ground);
    const { stdout } = await run(session, shell("id -u; id -g; id -G; echo $USER $HOME $POSTERN_UID; pwd"));
    assert.equal(stdout, "65534\n65534\n65534\nnobody /nonexistent\n/\n");
  },
});
