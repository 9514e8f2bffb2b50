import assert from "node:assert/strict";
import { HostKeyChanged } from "../../../src/client/manage/known_hosts.ts";
import {
  mayPass,
  pause,
  type Reach,
  reachAgain,
  reachHost,
  requireSessionId,
} from "../../../src/client/manage/reattach.ts";
import { type ResetCode, ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import { systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
import { Failure, UsageFailure } from "../../../src/system/failure.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";
import { manageStage } from "./manage_stage.ts";
import { ScriptedHost } from "./scripted_host.ts";

function reset(code: ResetCode, options: ErrorOptions = {}): ResetError {
  return new ResetError(code, "there", code, options);
}

Deno.test("mayPass() knows which codes are for good, wherever in the chain of causes they are", () => {
  const final: readonly ResetCode[] = [
    "refused_by_server",
    "refused_by_host",
    "unknown_host",
    "version",
    "revoked",
    "expired",
    "replaced",
    "authentication",
    "token",
  ];
  for (const code of final) {
    assert.equal(mayPass(reset(code)), false, code);
    assert.equal(mayPass(new Failure("words", { cause: new ApplicationError(code, "words") })), false, code);
    assert.equal(mayPass(reset("lost", { cause: reset(code) })), false, code);
  }
  const passing: readonly ResetCode[] = [
    "offline",
    "lost",
    "silent",
    "shutting_down",
    "internal",
    "exhausted",
    "in_use",
  ];
  for (const code of passing) assert.equal(mayPass(reset(code)), true, code);
  assert.equal(mayPass(new TransportError("refused", "nobody listens")), true);
  assert.equal(mayPass(new Failure("no words")), true);
  assert.equal(mayPass(null), true);
  const key = new Uint8Array(32).fill(1);
  assert.equal(mayPass(new HostKeyChanged("web1", key, new Uint8Array(32).fill(2), "known_hosts")), false);
  // A cycle ends.
  const cycle = new Error("a");
  cycle.cause = cycle;
  assert.equal(mayPass(cycle), true);
});

Deno.test("reachAgain() tries at once, then with pauses that grow to three seconds, until it is there", async () => {
  await using host = new ScriptedHost({});
  const timers = new FakeTimers(), times: number[] = [], whys: string[] = [];
  // Too late once is not too late for good.
  const failures = [
    reset("offline"),
    reset("expired"),
    ...new Array(40).fill(new Failure("nobody is there")),
  ];
  const reach: Reach = async (wish) => {
    times.push(timers.monotonicMs());
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    return await host.reach(wish);
  };
  const reaching = reachAgain(reach, {
    attach: "00112233445566aa",
    timers,
    random: () => 0.999,
    graceMs: Infinity,
    signal: new AbortController().signal,
    onFailed: (why) => whys.push(why),
  });
  await timers.pass(600_000);
  assert.equal((await reaching).session, "00112233445566aa");
  assert.equal(times[0], 0);
  assert.equal(times.length, 43);
  const pauses = times.slice(1).map((ms, i) => ms - (times[i] ?? 0));
  assert(pauses.every((ms) => ms <= 3_000), pauses.join());
  assert(Math.max(...pauses) > 2_900, pauses.join());
  assert.equal(whys.length, 42);
  assert.deepEqual(host.wishes, [{ attach: "00112233445566aa", again: true }]);
});

Deno.test("reachAgain() and pause() end with the reason of their signal, and leave no alarm behind", async () => {
  const timers = new FakeTimers(), ending = new AbortController();
  const reach: Reach = () => Promise.reject(new Failure("nobody is there"));
  const options = { attach: null, timers, random: () => 0.5, graceMs: Infinity, signal: ending.signal };
  const reaching = reachAgain(reach, options);
  reaching.catch(() => {});
  await timers.pass(5_000);
  ending.abort(new Error("left"));
  await assert.rejects(reaching, /left/);
  await assert.rejects(pause(1, timers, ending.signal), /left/);
  assert.equal(timers.pending, 0);
});

Deno.test("requireSessionId() takes 16 hexadecimal digits and repeats nothing else", () => {
  assert.equal(requireSessionId("3f9a0c41d2b7e655"), "3f9a0c41d2b7e655");
  for (
    const wrong of [
      "",
      "3F9A0C41D2B7E655",
      "3f9a0c41d2b7e65",
      "3f9a0c41d2b7e6555",
      "web1",
      "../../../../../x",
    ]
  ) {
    assert.throws(() => requireSessionId(wrong), (error: unknown) => {
      assert(error instanceof UsageFailure);
      assert(wrong === "" || !error.message.includes(wrong));
      return true;
    });
  }
});

Deno.test("reachHost() opens a session over a link of its own, and closes both", async () => {
  await using stage = await manageStage();
  await stage.server.host("web1");
  const reach = reachHost({
    folder: stage.folder,
    host: "web1",
    action: "forward",
    targets: ["db:5432"],
    acceptKey: false,
    timers: systemTimers,
    onNotice: stage.onNotice,
  });
  const { signal } = new AbortController();
  const session = await reach({ attach: null, again: false, signal });
  assert.equal(session.host, "web1");
  assert.match(session.session, /^[0-9a-f]{16}$/);
  assert.deepEqual(stage.server.sessions[0]?.open.targets, ["db:5432"]);
  await session.close();
  assert.equal(await session.ended, null);
  const server = stage.server.links[0];
  assert(server !== undefined);
  await server.link.closed;
  // What only detaches does not tell the host that it is the end.
  const other = await reach({ attach: null, again: true, signal });
  const hostsEnd = stage.server.sessions[1]?.peer.closed;
  await other.detach();
  assert.equal((await hostsEnd)?.reason, "lost");
  assert.equal(stage.notices.length, 1);
});

Deno.test("reachHost() leaves no link behind when the session cannot be opened", async () => {
  await using stage = await manageStage();
  const host = await stage.server.host("web1");
  host.refusal = ["refused_by_host", "forward not allowed by its agent.toml"];
  const reach = reachHost({
    folder: stage.folder,
    host: "web1",
    action: "forward",
    targets: ["db:5432"],
    acceptKey: false,
    timers: systemTimers,
    onNotice: stage.onNotice,
  });
  await assert.rejects(
    reach({ attach: null, again: false, signal: new AbortController().signal }),
    (error: unknown) => {
      assert.match(String(error), /web1 refuses: forward not allowed by its agent\.toml/);
      assert.equal(mayPass(error), false);
      return true;
    },
  );
  await stage.server.links[0]?.link.closed;
});

Deno.test("reachHost() finds the host of a session that is attached to, and only asks once", async () => {
  await using stage = await manageStage();
  await stage.server.host("web1");
  const session = "00112233445566aa";
  stage.server.sessionRows = [{ session, host: "web1", openedMs: 1_700_000_000_000, detached: false }];
  const wish = {
    folder: stage.folder,
    host: null,
    action: "shell",
    acceptKey: false,
    timers: systemTimers,
    onNotice: stage.onNotice,
  } as const;
  const { signal } = new AbortController();
  const reach = reachHost(wish);
  const first = await reach({ attach: session, again: false, signal });
  assert.deepEqual([first.host, first.session], ["web1", session]);
  await first.detach();
  stage.server.sessionRows = [];
  const again = await reach({ attach: session, again: true, signal });
  assert.equal(again.host, "web1");
  await again.detach();
  await assert.rejects(reachHost(wish)({ attach: session, again: false, signal }), (error: unknown) => {
    assert(error instanceof Failure);
    assert.equal(error.hint, "there are none at all; --detach begins one");
    return true;
  });
});
