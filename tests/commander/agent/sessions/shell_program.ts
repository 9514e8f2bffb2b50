/** A process with a shell in it that goes on for ever: what an agent is that somebody kills. Prints its process id. */
import { hostShell } from "../../../../src/commander/agent/sessions/shell_session.ts";
import { stage, Viewer } from "./session_stage.ts";

const stand = stage();
const viewer = new Viewer(hostShell(stand.ground, { outlivesLink: true }).handlers);
viewer.type("while :; do echo tick-$$-; sleep 0.1; done\n");
const pid = Number(await viewer.shows(/tick-([0-9]+)-/));
await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify({ pid, folder: stand.folder })}\n`));
