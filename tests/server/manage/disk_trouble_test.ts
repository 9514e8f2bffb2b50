/** A disk without room, or that cannot be written: no session without its row, and nothing half-written. */
import assert from "node:assert/strict";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { DatabaseFailure } from "../../../src/server/manage/database.ts";
import { initServer } from "../../../src/server/manage/init.ts";
import { openDataFolder } from "../../../src/server/manage/data_folder.ts";
import { type OpenedSession, Registry } from "../../../src/server/manage/registry.ts";
import { describeError, Failure } from "../../../src/system/failure.ts";
import { mountObstacle, succeeds, unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

const obstacle = await mountObstacle();

/** A small file system of its own, below a folder that only this user may enter. */
class SmallDisk implements AsyncDisposable {
  readonly #folder: TempFolder;

  private constructor(folder: TempFolder) {
    this.#folder = folder;
  }

  static async mount(): Promise<SmallDisk> {
    await using undo = new AsyncDisposableStack();
    const folder = undo.use(await TempFolder.make("disk"));
    assert.ok(await succeeds("mount", ["-t", "tmpfs", "-o", "size=1m,mode=0700", "none", folder.path]));
    undo.move();
    return new SmallDisk(folder);
  }

  get path(): string {
    return this.#folder.path;
  }

  async fill(): Promise<void> {
    using file = await Deno.open(`${this.path}/filler`, { create: true, write: true });
    await assert.rejects(async () => {
      for (;;) await file.write(new Uint8Array(4096));
    }, /os error 28/);
  }

  async free(): Promise<void> {
    await Deno.remove(`${this.path}/filler`);
  }

  async remount(how: "ro" | "rw"): Promise<void> {
    assert.ok(await succeeds("mount", ["-o", `remount,${how}`, this.path]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    assert.ok(await succeeds("umount", [this.path]), "umount failed");
    await this.#folder[Symbol.asyncDispose]();
  }
}

function session(n: number): OpenedSession {
  return {
    session: n.toString(16).padStart(16, "0"),
    admin: "carol",
    adminKey: new Uint8Array(32).fill(1),
    host: "web1",
    hostKey: new Uint8Array(32).fill(2),
    action: "shell",
    outlivesLink: false,
    targets: ["x".repeat(4000)],
    address: "192.0.2.9:1",
  };
}

/** Opens sessions until one is refused; gives how many were not. */
function openUntilRefused(registry: Registry): number {
  for (let n = 0; n < 10_000; n++) {
    try {
      registry.sessionOpened(session(n));
    } catch (error) {
      assert.ok(error instanceof ResetError);
      assert.equal(error.code, "not_audited");
      assert.equal(error.message, "the server refuses: the session could not be written into its audit");
      assert.match(describeError(error), /registry.db: the disk is full/);
      return n;
    }
  }
  throw new Error("the disk never became full");
}

Deno.test({
  ...unless(obstacle, "sessionOpened() on a full disk refuses the session, and writes nothing of it"),
  async fn(): Promise<void> {
    await using disk = await SmallDisk.mount();
    const { folder } = await initServer({ folder: `${disk.path}/data`, addresses: ["h:1"] });
    using registry = await Registry.open(folder);
    await disk.fill();
    const opened = openUntilRefused(registry);
    assert.equal(registry.openSessions().length, opened);
    const verdict = registry.audit.verify();
    assert.ok(verdict.isSound);
    assert.equal(verdict.head.number, 1 + opened);

    // What else would write is refused as clearly, and reading goes on, also of a program that comes now.
    const full = (error: unknown): boolean => error instanceof DatabaseFailure && error.trouble === "full";
    assert.throws(() => {
      for (;;) registry.audit.append("link_refused", { filler: "x".repeat(4000) });
    }, full);
    using another = await Registry.open(await openDataFolder(folder.path));
    assert.deepEqual(another.audit.verify(), registry.audit.verify());

    await disk.free();
    registry.sessionOpened(session(opened));
    assert.equal(registry.openSessions().length, opened + 1);
    assert.equal(registry.audit.verify().isSound, true);
  },
});

Deno.test({
  ...unless(obstacle, "bindToken() on a full disk lets nobody in, and the token is good once there is room"),
  async fn(): Promise<void> {
    await using disk = await SmallDisk.mount();
    const { folder } = await initServer({ folder: `${disk.path}/data`, addresses: ["h:1"] });
    using registry = await Registry.open(folder);
    const secretHash = systemRandomBytes(32);
    const expiresMs = Date.now() + 3_600_000;
    registry.createInvite({ role: "host", name: "web1", tags: [], replaces: false, expiresMs, secretHash });
    await disk.fill();
    openUntilRefused(registry);
    const shown = {
      secretHash,
      role: "host",
      key: systemRandomBytes(32),
      address: `x${"y".repeat(9000)}`,
    } as const;
    assert.throws(() => registry.bindToken(shown), DatabaseFailure);
    assert.deepEqual(registry.hosts(), []);
    await disk.free();
    assert.ok("name" in registry.bindToken(shown));
  },
});

Deno.test({
  ...unless(
    obstacle,
    "Registry.open() on a disk that cannot be written says so, and works once it can",
  ),
  async fn(): Promise<void> {
    await using disk = await SmallDisk.mount();
    const { folder } = await initServer({ folder: `${disk.path}/data`, addresses: ["h:1"] });
    await disk.remount("ro");
    await assert.rejects(
      Registry.open(await openDataFolder(folder.path)),
      /registry.db: it, or the folder around it, cannot be written/,
    );
    await disk.remount("rw");
    using registry = await Registry.open(folder);
    registry.sessionOpened(session(1));
    assert.equal(registry.openSessions().length, 1);
  },
});

Deno.test({
  ...unless(
    obstacle,
    "initServer() on a full disk leaves no folder that passes for a server, and goes on later",
  ),
  async fn(): Promise<void> {
    await using disk = await SmallDisk.mount();
    await disk.fill();
    const path = `${disk.path}/data`;
    await assert.rejects(initServer({ folder: path, addresses: ["h:1"] }), Failure);
    await assert.rejects(openDataFolder(path), Failure);
    await disk.free();
    await initServer({ folder: path, addresses: ["h:1"] });
    using registry = await Registry.open(await openDataFolder(path));
    assert.equal(registry.audit.verify().isSound, true);
  },
});
