/** `proveKnock` against a real server and a real commander on loopback. */
import assert from "node:assert/strict";
import { type LabFiles, startCommander, startServer, writeLabFiles } from "../../scripts/lab.ts";
import { formatKey, generateKey } from "../../src/protocol/knock/key.ts";
import { CHECK_COMMAND, CHECK_KEY_NAME } from "../../src/setup/layout.ts";
import { proveKnock } from "../../src/setup/proof.ts";
import { readStatusCounts } from "../../src/setup/status_counts.ts";
import { describeError, Failure } from "../../src/system/failure.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { textOf, until } from "../e2e/until.ts";

const KEY_TABLE = `[keys.${CHECK_KEY_NAME}]\nallow = ["${CHECK_COMMAND}"]`;
const TIMEOUT_MS = 10_000;
/** Of a proof that cannot succeed: the server writes its counts once a second. */
const SHORT_MS = 2500;

interface Scene extends AsyncDisposable {
  readonly files: LabFiles;
  readonly keyPath: string;
  readonly port: number;
}

async function scene(parts: { commander: boolean; keyTable?: string }): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(await TempFolder.make("proof"));
  const files = await writeLabFiles(folder, {
    commands: () => `[commands]\n${CHECK_COMMAND} = "true"\n`,
    ips: ["9.9.9.9"],
    config: parts.keyTable ?? KEY_TABLE,
  });
  const keyPath = `${folder}/etc/${CHECK_KEY_NAME}.key`;
  await Deno.writeTextFile(keyPath, formatKey(generateKey()), { mode: 0o600 });
  if (parts.commander) stack.use(await startCommander(files));
  const { process, port } = await startServer(files);
  stack.use(process);
  const moved = stack.move();
  return { files, keyPath, port, [Symbol.asyncDispose]: () => moved[Symbol.asyncDispose]() };
}

async function failureOf(proof: Promise<void>): Promise<Failure> {
  const error = await proof.then(() => null, (each: unknown) => each);
  assert(error instanceof Failure, String(error));
  return error;
}

Deno.test({
  name:
    "proveKnock() succeeds where a knock runs a command, for an address that is not this machine's, again and again",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using there = await scene({ commander: true });
    const options = {
      configPath: there.files.configPath,
      keyPath: there.keyPath,
      timeoutMs: TIMEOUT_MS,
      port: there.port,
    };
    await proveKnock(options);
    await proveKnock(options);
    const status = JSON.parse(await Deno.readTextFile(there.files.statusPath));
    assert.equal(status.forwarded, 2);
  },
});

Deno.test({
  name: "proveKnock() says that the commander was not reached where none runs",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using there = await scene({ commander: false });
    const failure = await failureOf(proveKnock({
      configPath: there.files.configPath,
      keyPath: there.keyPath,
      timeoutMs: 8000,
      port: there.port,
    }));
    assert.match(
      failure.message,
      /accepted the packet, and could not reach the commander|has not forwarded it/,
    );
  },
});

Deno.test({
  name: "proveKnock() knocks again where the commander is still starting",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using there = await scene({ commander: false });
    const proof = proveKnock({
      configPath: there.files.configPath,
      keyPath: there.keyPath,
      timeoutMs: 20_000,
      port: there.port,
    });
    await until("the first knock was lost", async () => {
      const status = await textOf(there.files.statusPath);
      return status !== undefined && JSON.parse(status).forward_failures > 0;
    });
    await using _commander = await startCommander(there.files);
    await proof;
  },
});

for (const what of ["a pipe", "a link to what has no end", "more than a server ever writes"]) {
  Deno.test(`proveKnock() is not held up by ${what} in the place of the status file`, async () => {
    await using folder = await TempFolder.make("proof");
    const files = await writeLabFiles(folder.path, { commands: () => "[commands]\n" });
    if (what === "a pipe") await new Deno.Command("mkfifo", { args: [files.statusPath] }).output();
    else if (what.startsWith("a link")) await Deno.symlink("/dev/zero", files.statusPath);
    else await Deno.writeTextFile(files.statusPath, `"${" ".repeat(5_000_000)}"`);
    assert.equal(await readStatusCounts(files.statusPath), null);
  });
}

Deno.test({
  name: "proveKnock() names the reason where the server refuses the packet",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using there = await scene({ commander: true, keyTable: `[keys.${CHECK_KEY_NAME}]\nallow = []` });
    const failure = await failureOf(proveKnock({
      configPath: there.files.configPath,
      keyPath: there.keyPath,
      timeoutMs: SHORT_MS,
      port: there.port,
    }));
    assert.match(failure.message, /the server refused a packet: command_not_allowed/);
    assert.match(failure.hint ?? "", /server doctor/);
  },
});

Deno.test({
  name: "proveKnock() says that nothing arrived where the packet goes to another port",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using there = await scene({ commander: true });
    using stack = new DisposableStack();
    const nobody = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    stack.defer(() => nobody.close());
    const { port } = nobody.addr as Deno.NetAddr;
    const failure = await failureOf(proveKnock({
      configPath: there.files.configPath,
      keyPath: there.keyPath,
      timeoutMs: SHORT_MS,
      port,
    }));
    assert.match(failure.message, new RegExp(`received nothing: the packet went to 127.0.0.1:${port}`));
  },
});

Deno.test("proveKnock() says that no server runs where there is no status file, or an old one", async () => {
  await using folder = await TempFolder.make("proof");
  const files = await writeLabFiles(folder.path, { commands: () => "[commands]\n" });
  const options = { configPath: files.configPath, keyPath: files.keyPath, timeoutMs: 0 };
  assert.match(
    describeError(await failureOf(proveKnock(options))),
    /no server runs: found no readable status file/,
  );
  const time = "2026-01-01T00:00:00.000Z";
  const counts = {
    received: 0,
    refused: {},
    accepted: 0,
    forwarded: 0,
    forward_failures: 0,
    floor_age_seconds: {},
  };
  await Deno.writeTextFile(files.statusPath, JSON.stringify({ time, started_at: time, ...counts }));
  assert.match(describeError(await failureOf(proveKnock(options))), /no server runs: .* seconds old/);
});
