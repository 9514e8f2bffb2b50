/**
 * A receiver of its own process, to be killed: `file_sink_child.ts FOLDER MODE` takes what is missing of the offer below
 * from nowhere, says "accepted" and then "done". MODE is "links", "no-links" or "overwrite".
 */
import { systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { type Given, Offered, sha256, sinkInto } from "./file_sink_stage.ts";

/** Rounds come as often as they can. */
const hastyTimers: Timers = { ...systemTimers, after: (_delayMs, act) => systemTimers.after(2, act) };

/** Long files, short ones, empty ones and folders. */
export function killedOffer(): Offered {
  const given: Record<string, Given> = {};
  for (let i = 0; i < 3; i++) {
    given[`long ${i}`] = { content: 9 * CHUNK_BYTES + i };
    given[`folder ${i}`] = { mode: 0o750 };
    for (let k = 0; k < 40; k++) {
      given[`folder ${i}/${k}`] = { content: k * 100, mode: k % 2 === 0 ? 0o644 : 0o444 };
    }
  }
  return new Offered(given);
}

function noLinks(): never {
  throw Object.assign(new Deno.errors.PermissionDenied("Operation not permitted (os error 1)"), {
    code: "EPERM",
  });
}

async function receive(folder: string, mode: string): Promise<void> {
  const offered = killedOffer();
  const sink = sinkInto(folder, {
    timers: hastyTimers,
    overwrite: mode === "overwrite",
    ...(mode === "no-links" ? { link: noLinks } : {}),
  });
  const ranges = Map.groupBy(await sink.accept(offered.offer), ({ file }) => file);
  say("accepted");
  const finishing: Promise<void>[] = [];
  for (const file of offered.files) {
    for (const { first, count } of ranges.get(file) ?? []) {
      for (let chunk = first; chunk < first + count; chunk++) {
        const bytes = offered.chunk(file, chunk);
        await sink.write(file, chunk, bytes, await sha256(bytes));
      }
    }
    finishing.push(sink.finishFile(file));
  }
  await Promise.all(finishing);
  await sink.finish();
  say("done");
  await sink.close();
}

function say(word: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${word}\n`));
}

if (import.meta.main) await receive(Deno.args[0] ?? "", Deno.args[1] ?? "");
