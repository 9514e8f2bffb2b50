import assert from "node:assert/strict";
import { RegistryGround } from "./registry_ground.ts";

const racerPath = new URL("./token_racer.ts", import.meta.url).pathname;
const RACERS = 3;
const TOKENS = 40;

Deno.test("bindToken() by several programs at once lets exactly one key in for each token", {
  timeout: 60_000,
}, async () => {
  await using ground = await RegistryGround.make();
  ground.clock.nowMs = Date.now(); // the programs have the machine's clock
  const names = Array.from({ length: TOKENS }, (_, n) => `web${n}`);
  const hashes = names.map((name) => ground.invite(name).toHex());
  const racers = Array.from({ length: RACERS }, () => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--cached-only", racerPath, ground.folder.path, ...hashes],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    return { child, lines: child.stdout.pipeThrough(new TextDecoderStream()).getReader() };
  });
  for (const { lines } of racers) assert.match((await lines.read()).value ?? "", /^ready/);
  const outputs = await Promise.all(racers.map(async ({ child, lines }) => {
    await child.stdin.getWriter().close();
    let text = "";
    for (let next = await lines.read(); !next.done; next = await lines.read()) text += next.value;
    assert.equal((await child.status).code, 0);
    return text.trimEnd().split("\n");
  }));
  for (const [at, name] of names.entries()) {
    assert.deepEqual(
      outputs.map((lines) => lines[at]).sort(),
      ["refused", "refused", name],
      name,
    );
  }
  assert.equal(ground.registry.hosts().length, TOKENS);
  const events = ground.events();
  assert.equal(events.filter((event) => event === "joined").length, TOKENS);
  assert.equal(events.filter((event) => event === "join_refused").length, TOKENS * (RACERS - 1));
  assert.equal(ground.registry.audit.verify().isSound, true);
});
