/** A session that takes every process its user may have, and its end. Prints whether one was still to be had, and what is left. */
import {
  endSessions,
  keepEnderReady,
  startScript,
} from "../../../../src/commander/agent/sessions/session_process.ts";

await using _ender = Deno.args[0] === "ready" ? keepEnderReady() : null;
const bomb = startScript('trap "" HUP TERM; while :; do sleep 300 & done', []);
await Promise.all([bomb.child.stdin.close(), bomb.child.stdout.cancel(), bomb.child.stderr.cancel()]);
let wasFull = false;
for (const endMs = performance.now() + 10_000; !wasFull && performance.now() < endMs;) {
  await new Promise((resolve) => setTimeout(resolve, 20));
  try {
    const { success } = await new Deno.Command("/bin/sh", { args: ["-c", "true & wait"], stderr: "null" })
      .output();
    wasFull = !success;
  } catch {
    wasFull = true;
  }
}
const isGone = await endSessions([bomb]);
await bomb.exitCode;
await Deno.stdout.write(new TextEncoder().encode(JSON.stringify({ wasFull, isGone })));
