import assert from "node:assert/strict";
import { execOnMany, type HostOutcome, type ManyOptions } from "../../../src/client/manage/many_hosts.ts";
import type { ExecOutput } from "../../../src/protocol/manage/session_contract.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import { describeError, Failure } from "../../../src/system/failure.ts";
import { Collected } from "./collected.ts";
import { type ManageStage, manageStage } from "./manage_stage.ts";
import type { HostHandlers } from "./stand_in_server.ts";

const encoder = new TextEncoder();

/** Ends with this code after a line. */
function program(exitCode: number): HostHandlers {
  return {
    exec: async function* ({ command }): AsyncGenerator<ExecOutput> {
      yield { stdout: encoder.encode(`${command.join(" ")}\n`) };
      yield { exitCode };
    },
  };
}

async function run(on: ManageStage, options: Partial<ManyOptions> = {}): Promise<readonly HostOutcome[]> {
  return await execOnMany(await on.connect(), {
    tag: "prod",
    command: ["uptime", "-p"],
    parallel: 16,
    acceptKey: false,
    onNotice: on.onNotice,
    outputOf: () => ({ stdout: (): void => {}, stderr: (): void => {} }),
    onOutcome: (): void => {},
    ...options,
  });
}

function shown(outcomes: readonly HostOutcome[]): Record<string, number | string> {
  return Object.fromEntries(
    outcomes.map((each) => [each.host, "exitCode" in each ? each.exitCode : describeError(each.failure)]),
  );
}

Deno.test("execOnMany() runs on every host with the tag, and one that fails keeps no other from going on", async () => {
  await using on = await manageStage();
  const prod = { tags: ["prod", "eu"] };
  await on.server.host("web2", program(3), prod);
  await on.server.host("web1", program(0), prod);
  await on.server.host("db1", {
    exec: () => {
      throw new ApplicationError("refused_by_host", "agent.toml allows no such command");
    },
  }, prod);
  const policy = await on.server.host("db2", {}, prod);
  policy.refusal = ["refused_by_server", "exec on db2 is not in its policy.toml"];
  await on.server.host("gone", {}, { ...prod, online: false, sinceMs: null });
  await on.server.host("test1", program(0), { tags: ["test"] });
  const output = new Map<string, Collected>(), told: string[] = [];
  const outcomes = await run(on, {
    outputOf: (host) => {
      const stdout = new Collected();
      output.set(host, stdout);
      return { stdout: stdout.take, stderr: (): void => assert.fail("nothing is printed") };
    },
    onOutcome: ({ host }) => void told.push(host),
  });
  assert.deepEqual(shown(outcomes), {
    db1: "db1 refuses: agent.toml allows no such command",
    db2: "the server refuses: exec on db2 is not in its policy.toml",
    gone: "gone is offline: it has never connected to the server",
    web1: 0,
    web2: 3,
  });
  assert.deepEqual(outcomes.map(({ host }) => host), ["db1", "db2", "gone", "web1", "web2"]);
  assert.equal(told[0], "gone");
  assert.deepEqual(told.toSorted(), ["db1", "db2", "gone", "web1", "web2"]);
  assert.equal(output.get("web1")?.text, "uptime -p\n");
  assert.equal(output.get("web2")?.text, "uptime -p\n");
});

Deno.test("execOnMany() runs once on a host that the server names twice", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", program(0), { tags: ["prod"] });
  on.server.hosts.set("again", host);
  let runs = 0;
  const outcomes = await run(on, {
    outputOf: () => {
      runs++;
      return { stdout: (): void => {}, stderr: (): void => {} };
    },
  });
  assert.deepEqual([runs, outcomes], [1, [{ host: "web1", exitCode: 0 }]]);
});

Deno.test("execOnMany() runs on so many hosts at once and no more", async () => {
  await using on = await manageStage();
  let now = 0, most = 0;
  let together: (() => void)[] = [];
  const exec: HostHandlers["exec"] = async function* (): AsyncGenerator<ExecOutput> {
    now++;
    most = Math.max(most, now);
    // Nobody ends before there are three; a fourth would have the time to come.
    const { promise, resolve } = Promise.withResolvers<void>();
    together.push(resolve);
    if (together.length === 3) {
      const three = together;
      together = [];
      setTimeout(() => three.forEach((each) => each()), 20);
    }
    await promise;
    now--;
    yield { exitCode: 0 };
  };
  for (let i = 0; i < 12; i++) await on.server.host(`web${i}`, { exec }, { tags: ["prod"] });
  const outcomes = await run(on, { parallel: 3 });
  assert.equal(outcomes.length, 12);
  assert.equal(most, 3);
});

Deno.test("execOnMany() gives the programs no input", async () => {
  await using on = await manageStage();
  const items: number[] = [];
  await on.server.host("web1", {
    exec: async function* (_, input): AsyncGenerator<ExecOutput> {
      for await (const item of input) items.push(item.length);
      yield { exitCode: 0 };
    },
  }, { tags: ["prod"] });
  await run(on);
  assert.deepEqual(items, [0]);
});

Deno.test("execOnMany() names the tags there are where no host has the one", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {}, { tags: ["test", "prod"] });
  await on.server.host("web2", {}, { tags: ["prod"] });
  await assert.rejects(run(on, { tag: "prdo" }), (error: unknown) => {
    assert(error instanceof Failure);
    assert.equal(error.message, "no host has the tag prdo (did you mean prod?)");
    assert.equal(error.hint, "the tags there are: prod, test");
    return true;
  });
});

Deno.test("execOnMany() tells of every host that the link was lost", async () => {
  await using on = await manageStage();
  const exec: HostHandlers["exec"] = async function* (): AsyncGenerator<ExecOutput> {
    yield { stdout: encoder.encode("begun\n") };
    await new Promise(() => {});
  };
  for (const name of ["web1", "web2", "web3"]) await on.server.host(name, { exec }, { tags: ["prod"] });
  let begun = 0;
  const outcomes = await run(on, {
    parallel: 2,
    outputOf: () => ({
      stdout: (): void => {
        if (++begun === 2) on.server.links[0]?.link.close("shutting_down", "the server is restarted");
      },
      stderr: (): void => {},
    }),
  });
  assert.equal(outcomes.length, 3);
  for (const outcome of outcomes) {
    assert("failure" in outcome);
    assert.match(outcome.failure.message, /the server is restarted/);
  }
});

Deno.test("execOnMany() ends all of them when it is given up", async () => {
  await using on = await manageStage();
  let ended = 0;
  const exec: HostHandlers["exec"] = async function* (_, _items, { signal }): AsyncGenerator<ExecOutput> {
    const gone = new Promise<void>((resolve) =>
      signal.addEventListener("abort", () => resolve(), { once: true })
    );
    yield { stdout: encoder.encode("begun\n") };
    await gone;
    ended++;
  };
  for (const name of ["web1", "web2"]) await on.server.host(name, { exec }, { tags: ["prod"] });
  const giveUp = new AbortController(), reason = new Error("Ctrl-C");
  let begun = 0;
  await assert.rejects(
    run(on, {
      signal: giveUp.signal,
      outputOf: () => ({
        stdout: (): void => {
          if (++begun === 2) giveUp.abort(reason);
        },
        stderr: (): void => {},
      }),
    }),
    reason,
  );
  await Promise.all(on.server.sessions.map(({ peer }) => peer.closed));
  assert.equal(ended, 2);
});

Deno.test("execOnMany() ends all of them when nobody takes the output any more", async () => {
  await using on = await manageStage();
  let ended = 0;
  const exec: HostHandlers["exec"] = async function* (_, _items, { signal }): AsyncGenerator<ExecOutput> {
    const gone = new Promise<void>((resolve) =>
      signal.addEventListener("abort", () => resolve(), { once: true })
    );
    yield { stdout: encoder.encode("begun\n") };
    await gone;
    ended++;
  };
  for (const name of ["web1", "web2", "web3"]) await on.server.host(name, { exec }, { tags: ["prod"] });
  const broken = new Deno.errors.BrokenPipe("nobody reads");
  let begun = 0;
  const stdout = (): void => {
    if (++begun === 2) throw broken;
  };
  await assert.rejects(
    run(on, { parallel: 2, outputOf: () => ({ stdout, stderr: (): void => {} }) }),
    broken,
  );
  await Promise.all(on.server.sessions.map(({ peer }) => peer.closed));
  assert.equal(ended, 2);
  assert.equal(on.server.sessions.length, 2);
});
