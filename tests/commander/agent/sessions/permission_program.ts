/**
 * Runs a shell, with everything that it can do, and a program; says on standard output what came of it. Its test starts
 * it with the permissions that sessions are documented to need.
 */
import { hostExec } from "../../../../src/commander/agent/sessions/exec_session.ts";
import type { SessionGround } from "../../../../src/commander/agent/sessions/hosted_session.ts";
import { hostShell } from "../../../../src/commander/agent/sessions/shell_session.ts";
import { systemTimers } from "../../../../src/protocol/rpc/timers.ts";
import { Log } from "../../../../src/system/log.ts";
import { until } from "../../../e2e/until.ts";
import { join, printed, Viewer } from "./session_stage.ts";

const [record = ""] = Deno.args;
const ground: SessionGround = {
  session: "0123456789abcdef",
  hostName: "web1",
  adminName: "anna",
  config: {
    runAs: null,
    account: { name: "tester", uid: 0, gid: 0, home: "/", shell: "/bin/sh" },
    shellProgram: null,
    record,
    scrollbackBytes: 0,
    detachGraceMs: 1000,
  },
  mayRun: () => null,
  mayConnect: () => null,
  timers: systemTimers,
  log: new Log({ role: "agent", format: "text" }),
  signal: new AbortController().signal,
};

const shell = hostShell(ground, { outlivesLink: false });
{
  await using viewer = new Viewer(shell.handlers);
  viewer.resize(40, 132);
  await until("the window has the new size", () => {
    viewer.type("stty size\r");
    return viewer.text.includes("40 132");
  }, { pollMs: 50 });
  viewer.type("nohup sleep 300 >/dev/null 2>&1 & echo pid: $!.\r");
  const pid = await viewer.shows(/pid: ([0-9]+)\./);
  shell.end("revoked");
  const { ending } = await shell.ended;
  const exec = hostExec(ground);
  await using pair = join(exec.handlers);
  const { stdout } = await printed(pair.dialler.client.exec({ command: ["echo", "here"] }, []));
  const { exitCode } = await exec.ended;
  await Deno.stdout.write(new TextEncoder().encode(JSON.stringify({ pid, ending, stdout, exitCode })));
}
