/** A program and a shell of one agent; prints what each of them finds around it. */
import { hostExec } from "../../../../src/commander/agent/sessions/exec_session.ts";
import { hostShell } from "../../../../src/commander/agent/sessions/shell_session.ts";
import { join, printed, stage, Viewer } from "./session_stage.ts";

const SCRIPT = 'echo "umask $(umask) score $(cat /proc/self/oom_score_adj) files" $(ls /proc/self/fd) end';

async function execPrints(): Promise<string> {
  using stand = stage();
  const session = hostExec(stand.ground);
  await using pair = join(session.handlers);
  const { stdout } = await printed(pair.dialler.client.exec({ command: ["/bin/sh", "-c", SCRIPT] }, []));
  await session.ended;
  return stdout;
}

async function shellPrints(): Promise<string> {
  using stand = stage();
  const session = hostShell(stand.ground, { outlivesLink: false });
  await using viewer = new Viewer(session.handlers);
  viewer.type(`${SCRIPT}; exit\n`);
  await session.ended;
  return viewer.text;
}

const found = { exec: await execPrints(), shell: await shellPrints() };
await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(found)));
