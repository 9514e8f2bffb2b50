/** A commander killed between a command and its undo: the door is closed all the same. */
import assert from "node:assert/strict";
import { type LabFiles, startCommander, writeLabFiles } from "../../scripts/lab.ts";
import type { LoggedProcess } from "../../scripts/process.ts";
import { rurocoForwardMessage } from "../reference/ruroco.ts";
import { forwardAsRuroco } from "./ruroco_peers.ts";
import { TempFolder } from "./temp_folder.ts";
import { linesOf, textOf, until } from "./until.ts";

const IP = "198.51.100.4";
const YEAR_MS = 366 * 86_400_000;

/** A commander with one command, `open_door`: the file `door` is there while the door is open. */
class Doorway implements AsyncDisposable {
  readonly files: LabFiles;
  commander: LoggedProcess;

  private constructor(files: LabFiles, commander: LoggedProcess) {
    this.files = files;
    this.commander = commander;
  }

  /** @param cmd shell text that follows the opening of the door */
  static async start(undoAfterSeconds: number, cmd = ":"): Promise<Doorway> {
    await using undo = new AsyncDisposableStack();
    const { path: folder } = undo.use(await TempFolder.make("lease"));
    const files = await writeLabFiles(folder, {
      commands: () =>
        `[commands.open_door]
cmd = 'echo $POSTERN_IP > ${folder}/door; echo open >> ${folder}/story; ${cmd}'
undo = 'rm -f ${folder}/door; echo "close $POSTERN_IP" >> ${folder}/story'
undo_after_sec = ${undoAfterSeconds}
`,
    });
    const commander = await startCommander(files);
    undo.move();
    return new Doorway(files, commander);
  }

  async knock(): Promise<void> {
    await forwardAsRuroco(`${this.files.folder}/run/ruroco.socket`, rurocoForwardMessage("open_door", IP));
  }

  async knockAndSeeItOpen(): Promise<void> {
    await this.knock();
    await this.said("command finished");
    assert.equal(await this.door(), `${IP}\n`);
  }

  door(): Promise<string | undefined> {
    return textOf(`${this.files.folder}/door`);
  }

  story(): Promise<string[]> {
    return linesOf(`${this.files.folder}/story`);
  }

  async said(message: string): Promise<void> {
    await this.commander.line((line) => line.fields["message"] === message);
  }

  /** Positions of the present commander's log lines with these messages. */
  order(...messages: string[]): number[] {
    return messages.map((message) =>
      this.commander.lines.findIndex((line) => line.fields["message"] === message)
    );
  }

  kill(): Promise<Deno.CommandStatus> {
    return this.commander.stop("SIGKILL");
  }

  async restart(): Promise<void> {
    this.commander = await startCommander(this.files);
  }

  get leasesPath(): string {
    return `${this.files.folder}/commander-state/leases.json`;
  }

  async editLeases(edit: (file: LeasesJson) => void): Promise<void> {
    const file: LeasesJson = JSON.parse(await Deno.readTextFile(this.leasesPath));
    assert.equal(file.leases.length, 1);
    edit(file);
    await Deno.writeTextFile(this.leasesPath, JSON.stringify(file));
  }

  /** The wall clock has passed the date of the one lease that is recorded. */
  async dueDatePassed(): Promise<void> {
    const file: LeasesJson = JSON.parse(await Deno.readTextFile(this.leasesPath));
    const [lease] = file.leases;
    assert(lease !== undefined);
    await until("the lease is due", () => Date.now() > lease.dueAtMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.commander.stop();
    await Deno.remove(this.files.folder, { recursive: true });
  }
}

interface LeasesJson {
  bootId: string;
  leases: { dueAtMs: number }[];
}

/** The restarted commander closed the door before it let anyone knock. */
function assertClosedFirstThing(doorway: Doorway): void {
  const [undone = -1, ready = -1] = doorway.order("lease undone", "commander ready");
  assert(undone >= 0 && undone < ready, `undone at ${undone}, ready at ${ready}`);
}

Deno.test({
  name: "a commander killed between command and undo undoes first thing when it comes back after the date",
  timeout: 30_000,
  async fn(): Promise<void> {
    await using doorway = await Doorway.start(1);
    await doorway.knockAndSeeItOpen();
    await doorway.kill();
    await doorway.dueDatePassed();
    assert.equal(await doorway.door(), `${IP}\n`, "nobody is there to close it");

    await doorway.restart();
    assertClosedFirstThing(doorway);
    assert.equal(await doorway.door(), undefined);
    assert.deepEqual(await doorway.story(), ["open", `close ${IP}`]);

    await doorway.knock();
    await doorway.said("command finished");
    await until("the lease of the new commander is undone", async () => (await doorway.story()).length === 4);
    assert.deepEqual(await doorway.story(), ["open", `close ${IP}`, "open", `close ${IP}`]);
  },
});

Deno.test({
  name: "a commander killed while the command still runs undoes it after the restart",
  timeout: 30_000,
  async fn(): Promise<void> {
    // The shell outlives the commander that is killed; it must not outlive the test.
    await using doorway = await Doorway.start(1, "for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done");
    await doorway.knock();
    await until("the door opens", () => doorway.door());
    await doorway.kill();
    assert.deepEqual(await doorway.story(), ["open"]);
    await doorway.dueDatePassed();
    await doorway.restart();
    assertClosedFirstThing(doorway);
    assert.equal(await doorway.door(), undefined);
    assert.deepEqual(await doorway.story(), ["open", `close ${IP}`]);
  },
});

Deno.test({
  name: "a commander that comes back before the date keeps the lease and undoes it in time",
  timeout: 30_000,
  async fn(): Promise<void> {
    await using doorway = await Doorway.start(3);
    await doorway.knockAndSeeItOpen();
    await doorway.kill();
    await doorway.restart();
    assert.deepEqual(doorway.order("lease undone"), [-1]);
    assert.equal(await doorway.door(), `${IP}\n`);
    await doorway.said("lease undone");
    assert.equal(await doorway.door(), undefined);
    assert.deepEqual(await doorway.story(), ["open", `close ${IP}`]);
  },
});

Deno.test({
  name: "a commander whose clock was set back undoes at once what would stay open for years",
  timeout: 30_000,
  async fn(): Promise<void> {
    await using doorway = await Doorway.start(3600);
    await doorway.knockAndSeeItOpen();
    await doorway.kill();
    await doorway.editLeases(({ leases }) => leases.forEach((lease) => lease.dueAtMs += YEAR_MS));
    await doorway.restart();
    assertClosedFirstThing(doorway);
    assert.equal(await doorway.door(), undefined);
  },
});

Deno.test({
  name: "a commander undoes at once what was open when the machine went down",
  timeout: 30_000,
  async fn(): Promise<void> {
    await using doorway = await Doorway.start(3600);
    await doorway.knockAndSeeItOpen();
    await doorway.kill();
    await doorway.editLeases((file) => file.bootId = "another boot");
    await doorway.restart();
    assertClosedFirstThing(doorway);
    assert.equal(await doorway.door(), undefined);
  },
});
