import assert from "node:assert/strict";
import { CommanderSocket, handOver, type SocketPlace } from "../../../src/commander/knock/socket.ts";
import { Failure } from "../../../src/system/failure.ts";

const SELF = Deno.uid() ?? 0;

async function withPlace(test: (place: SocketPlace, folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-socket-" });
  try {
    await test({
      bindPath: `${folder}/.commander/ruroco.socket`,
      socketPath: `${folder}/ruroco.socket`,
      socketUid: null,
      socketGid: null,
      ownUid: SELF,
    }, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function modeOf(path: string): number {
  return (Deno.lstatSync(path).mode ?? 0) & 0o777;
}

function failureWith(pattern: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof Failure && pattern.test(error.message);
}

Deno.test("CommanderSocket is bound in a private folder and published with its final mode", async () => {
  await withPlace(async (place, folder) => {
    const socket = await CommanderSocket.bind(place);
    assert.equal(modeOf(`${folder}/.commander`), 0o700);
    assert.equal(modeOf(place.bindPath), 0o204);
    await assert.rejects(Deno.lstat(place.socketPath), Deno.errors.NotFound);
    await socket.publish();
    assert.equal(modeOf(place.socketPath), 0o204);
    const accepting = socket.listener.accept();
    using conn = await Deno.connect({ transport: "unix", path: place.socketPath });
    (await accepting).close();
    assert.equal(await conn.read(new Uint8Array(1)), null);
    await socket.close();
    await socket.close();
    await assert.rejects(Deno.lstat(place.socketPath), Deno.errors.NotFound);
  });
});

Deno.test("CommanderSocket replaces the stale sockets of a killed commander", async () => {
  await withPlace(async (place) => {
    const killed = await CommanderSocket.bind(place);
    await killed.publish();
    const halfway = await CommanderSocket.bind(place);
    const socket = await CommanderSocket.bind(place);
    await socket.publish();
    const accepting = socket.listener.accept();
    using _conn = await Deno.connect({ transport: "unix", path: place.socketPath });
    (await accepting).close();
    killed.listener.close();
    halfway.listener.close();
    await socket.close();
  });
});

Deno.test("CommanderSocket.close() leaves a socket that is not its own", async () => {
  await withPlace(async (place) => {
    const socket = await CommanderSocket.bind(place);
    await socket.publish();
    await Deno.remove(place.socketPath);
    using _other = Deno.listen({ transport: "unix", path: place.socketPath });
    await socket.close();
    assert.equal((await Deno.lstat(place.socketPath)).isSocket, true);
  });
});

Deno.test("CommanderSocket.close() before publish() leaves the socket of another commander", async () => {
  await withPlace(async (place) => {
    using _other = Deno.listen({ transport: "unix", path: place.socketPath });
    await (await CommanderSocket.bind(place)).close();
    assert.equal((await Deno.lstat(place.socketPath)).isSocket, true);
  });
});

Deno.test("CommanderSocket.publish() does not overwrite what is no socket", async () => {
  await withPlace(async (place) => {
    await Deno.writeTextFile(place.socketPath, "precious");
    const socket = await CommanderSocket.bind(place);
    await assert.rejects(socket.publish(), failureWith(/found something else there, accepted is a socket/));
    await socket.close();
    assert.equal(await Deno.readTextFile(place.socketPath), "precious");
  });
});

Deno.test("CommanderSocket.bind() refuses a private folder that somebody prepared", async () => {
  await withPlace(async (place, folder) => {
    await Deno.mkdir(`${folder}/elsewhere`);
    await Deno.symlink(`${folder}/elsewhere`, `${folder}/.commander`);
    await assert.rejects(
      CommanderSocket.bind(place),
      failureWith(/found a symlink, accepted is a folder of uid/),
    );
    await Deno.remove(`${folder}/.commander`);
    await Deno.mkdir(`${folder}/.commander`);
    await assert.rejects(
      CommanderSocket.bind({ ...place, ownUid: SELF + 1 }),
      failureWith(/found a folder of uid \d+ with mode 0755, accepted is a folder of uid \d+ with mode 0700/),
    );
    await Deno.chmod(`${folder}/.commander`, 0o777);
    await assert.rejects(
      CommanderSocket.bind(place),
      failureWith(/found a folder of uid \d+ with mode 0777/),
    );
  });
});

Deno.test("handOver() sets mode and owner of nothing that lies elsewhere", async () => {
  // What the owner of the socket folder can do between two steps: put his own thing in the private folder's place.
  await withPlace(async (place, folder) => {
    await Deno.mkdir(`${folder}/elsewhere`, { mode: 0o700 });
    await Deno.writeTextFile(`${folder}/elsewhere/ruroco.socket`, "precious", { mode: 0o600 });
    await Deno.symlink(`${folder}/elsewhere`, `${folder}/.commander`);
    await assert.rejects(handOver(place), failureWith(/its folder is not as it was made/));
    assert.equal(modeOf(`${folder}/elsewhere/ruroco.socket`), 0o600);
    await Deno.remove(`${folder}/.commander`);
    await Deno.mkdir(`${folder}/.commander`, { mode: 0o755 });
    using _socket = Deno.listen({ transport: "unix", path: place.bindPath });
    await assert.rejects(handOver(place), failureWith(/its folder is not as it was made/));
    assert.equal(modeOf(place.bindPath) & 0o700, 0o700, "as bound");
  });
});

Deno.test("CommanderSocket.bind() says when the owner cannot be set, and leaves no socket", async () => {
  await withPlace(async (place) => {
    await assert.rejects(
      CommanderSocket.bind({ ...place, socketUid: 4_294_967_295 }),
      failureWith(/could not give the socket \S+ to 4294967295$/),
    );
    await assert.rejects(Deno.lstat(place.bindPath), Deno.errors.NotFound);
  });
});

Deno.test("CommanderSocket.bind() names a path that is too long for a socket", async () => {
  await withPlace(async (place, folder) => {
    const long = `${folder}/${"x".repeat(100)}`;
    await Deno.mkdir(long);
    await assert.rejects(
      CommanderSocket.bind({ ...place, bindPath: `${long}/.commander/ruroco.socket` }),
      failureWith(/could not make the socket .*x{100}/),
    );
  });
});

Deno.test({
  name: "CommanderSocket lets its user connect and nobody else (needs root to change users)",
  ignore: SELF !== 0,
  async fn(): Promise<void> {
    await withPlace(async (place, folder) => {
      await Deno.chmod(folder, 0o755);
      const socket = await CommanderSocket.bind({ ...place, socketUid: 65533, socketGid: 65533 });
      await socket.publish();
      const info = await Deno.lstat(place.socketPath);
      assert.deepEqual([info.uid, info.gid], [65533, 65533]);
      assert.equal(modeOf(place.socketPath), 0o204);
      assert.equal(await connectAs(65533, place.socketPath), "connected");
      assert.equal(await connectAs(65534, place.socketPath), "PermissionError");
      await socket.close();
    });
  },
});

Deno.test({
  name: "CommanderSocket leaves the group or the user that is not to be changed (needs root to change users)",
  ignore: SELF !== 0,
  async fn(): Promise<void> {
    for (const [socketUid, socketGid] of [[65533, null], [null, 65533]] as const) {
      await withPlace(async (place) => {
        const socket = await CommanderSocket.bind({ ...place, socketUid, socketGid });
        const info = await Deno.lstat(place.bindPath);
        assert.deepEqual([info.uid, info.gid], [socketUid ?? SELF, socketGid ?? Deno.gid()]);
        await socket.close();
      });
    }
  },
});

/** Connects as another user by perl, which needs nothing but itself; Deno's cache is not readable to everybody. */
async function connectAs(uid: number, path: string): Promise<string> {
  const script = "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); " +
    'print connect(S, sockaddr_un($ARGV[0])) ? "connected" : $!{EACCES} ? "PermissionError" : "$!"';
  const output = await new Deno.Command("perl", { args: ["-MErrno", "-e", script, path], uid, gid: uid })
    .output();
  return new TextDecoder().decode(output.stdout);
}
