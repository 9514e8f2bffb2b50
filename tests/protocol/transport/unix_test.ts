import assert from "node:assert/strict";
import {
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../src/protocol/transport/conformance.ts";
import { unix } from "../../../src/protocol/transport/unix.ts";

const folder = Deno.makeTempDirSync();
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
const transport = unix(`${folder}/socket`);
for (const { name, run } of transportConformance(pairsOf(transport))) {
  Deno.test(`unix() connection ${name}`, run);
}
for (const { name, run } of listenerConformance(transport)) Deno.test(`unix() listener ${name}`, run);

Deno.test("unix() makes a socket for its owner alone, or with the mode it is told", async () => {
  const first = await unix(`${folder}/modes`).listen();
  assert.equal((Deno.statSync(`${folder}/modes`).mode ?? 0) & 0o777, 0o600);
  first.close();
  const second = await unix(`${folder}/modes`, { mode: 0o660 }).listen();
  assert.equal((Deno.statSync(`${folder}/modes`).mode ?? 0) & 0o777, 0o660);
  second.close();
});

Deno.test("unix() removes its file when the listener is closed", async () => {
  (await unix(`${folder}/gone`).listen()).close();
  assert.throws(() => Deno.lstatSync(`${folder}/gone`), Deno.errors.NotFound);
});

Deno.test("unix() replaces the socket that a killed program has left behind", async () => {
  const path = `${folder}/stale`;
  const code = `Deno.listen({transport: "unix", path: ${JSON.stringify(path)}}); Deno.exit(0)`;
  await new Deno.Command(Deno.execPath(), { args: ["eval", code] }).output();
  assert.equal(Deno.lstatSync(path).isSocket, true);
  const listener = await unix(path).listen();
  const accepting = listener.accept();
  const connection = await unix(path).connect();
  connection.close();
  (await accepting)?.close();
  listener.close();
});

Deno.test("unix() leaves a file alone that is no socket", async () => {
  Deno.writeTextFileSync(`${folder}/file`, "precious");
  await assert.rejects(unix(`${folder}/file`).listen(), {
    code: "address",
    message: /something else than a socket/,
  });
  assert.equal(Deno.readTextFileSync(`${folder}/file`), "precious");
});

Deno.test("unix() says refused when nothing lies at the path, and address when the path is too long", async () => {
  await assert.rejects(unix(`${folder}/nothing`).connect(), { code: "refused" });
  await assert.rejects(unix(`${folder}/${"x".repeat(120)}`).listen(), { code: "address" });
});

Deno.test({
  name: "unix() names the flags when a permission is missing",
  permissions: "none",
  async fn(): Promise<void> {
    const wanted = {
      code: "permission",
      message: /run it with --allow-read=\/run\/s --allow-write=\/run\/s --allow-net=unix:\/run\/s$/,
    };
    await assert.rejects(unix("/run/s").listen(), wanted);
    await assert.rejects(unix("/run/s").connect(), wanted);
    // Of the network's flag Deno takes absolute paths alone.
    const ofRelative = { code: "permission", message: `${Deno.cwd()}/s.sock` };
    await assert.rejects(unix("s.sock").connect(), ({ code, message }) => {
      assert.deepEqual({ code, message: message.split("--allow-net=unix:")[1] }, ofRelative);
      return true;
    });
  },
});
