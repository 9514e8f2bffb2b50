import assert from "node:assert/strict";
import { StatusWriter } from "../../src/server/status_writer.ts";
import { Log } from "../../src/system/log.ts";
import { FakeClock } from "./knock/knocks.ts";

Deno.test("write() replaces the file in one step, readable for collectors, and leaves nothing beside it", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-status-" });
  const path = `${folder}/status.json`;
  let text = "1";
  const writer = new StatusWriter(
    path,
    () => text,
    new Log({ role: "server", format: "text", write: () => {} }),
    new FakeClock(),
  );
  await writer.write();
  assert.equal(await Deno.readTextFile(path), "1");
  assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o644);
  text = "2";
  const earlier = writer.write();
  text = "3";
  await writer.writeLast();
  await earlier;
  assert.equal(await Deno.readTextFile(path), "3");
  assert.deepEqual([...Deno.readDirSync(folder)].map((entry) => entry.name), ["status.json"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("write() logs a failure once a minute and never throws", async () => {
  const lines: string[] = [];
  const log = new Log({ role: "server", format: "text", write: (line) => lines.push(line) });
  const clock = new FakeClock();
  const writer = new StatusWriter("/nowhere/at/all/status.json", () => "1", log, clock);
  for (let n = 0; n < 60; n++) {
    await writer.write();
    clock.advance(1000);
  }
  await writer.write();
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? "", /ERROR server: status file not written path=\/nowhere\/at\/all\/status\.json/);
});
