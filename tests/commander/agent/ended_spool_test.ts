import assert from "node:assert/strict";
import { EndedSpool, type SpoolPlaces } from "../../../src/commander/agent/ended_spool.ts";
import type { EndedSession } from "../../../src/protocol/manage/control_contract.ts";
import { type FileLayer, type OpenFile, systemFiles } from "../../../src/system/file_layer.ts";
import { Log } from "../../../src/system/log.ts";

const FIRST = "00000000000000a1", SECOND = "00000000000000b2";

function rowOf(session: string): EndedSession {
  return { session, ending: "done", exitCode: 3, bytesIn: 1, bytesOut: 2, durationMs: 4 };
}

const stopped = (session: string): EndedSession => ({
  session,
  ending: "agent_stopped",
  exitCode: null,
  bytesIn: 0,
  bytesOut: 0,
  durationMs: 0,
});

function quiet(lines: string[] = []): Log {
  return new Log({ role: "agent", format: "text", write: (line) => void lines.push(line) });
}

async function withPlaces(act: (places: SpoolPlaces) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/ended`);
    await act({ endedFolder: `${folder}/ended`, sessionsPath: `${folder}/sessions.json` });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Files of a process that is killed before its `steps`-th change of the disk: then nothing goes on. */
function killedAfter(steps: number): FileLayer & { readonly killed: Promise<false> } {
  let done = 0;
  const { promise: killed, resolve } = Promise.withResolvers<false>();
  const open = new Set<{ close(): void }>();
  const step = async <T>(act: () => Promise<T>): Promise<T> => {
    if (done >= steps) {
      for (const file of open) file.close();
      open.clear();
      resolve(false);
      return await new Promise<T>(() => {});
    }
    done++;
    return await act();
  };
  return {
    ...systemFiles,
    createNew: (path, mode) =>
      step(async () => {
        const file = await systemFiles.createNew(path, mode);
        open.add(file);
        return {
          write: (bytes) => step(() => file.write(bytes)),
          sync: () => step(() => file.sync()),
          close: () => open.delete(file) ? file.close() : undefined,
        };
      }),
    rename: (from, to) => step(() => systemFiles.rename(from, to)),
    syncFolder: (path) => step(() => systemFiles.syncFolder(path)),
    remove: (path) => step(() => systemFiles.remove(path)),
    killed,
  };
}

/** What a whole life of two sessions got done before it was killed. */
interface Life {
  readonly began: Set<string>;
  readonly ended: Set<string>;
  readonly acknowledging: Set<string>;
  /** Resolves to true where it was not killed. */
  readonly whole: Promise<true>;
}

function live(places: SpoolPlaces, files: FileLayer): Life {
  const began = new Set<string>(), ended = new Set<string>(), acknowledging = new Set<string>();
  const whole = (async (): Promise<true> => {
    const spool = await EndedSpool.open(places, quiet(), files);
    await spool.began(FIRST);
    began.add(FIRST);
    await spool.began(SECOND);
    began.add(SECOND);
    await spool.ended(rowOf(FIRST));
    ended.add(FIRST);
    acknowledging.add(FIRST);
    await spool.acknowledged(FIRST);
    await spool.ended(rowOf(SECOND));
    ended.add(SECOND);
    return true;
  })();
  return { began, ended, acknowledging, whole };
}

Deno.test("EndedSpool forgets no session, wherever it is killed", async () => {
  let isWhole = false;
  for (let steps = 0; !isWhole; steps++) {
    assert.ok(steps < 200);
    await withPlaces(async (places) => {
      const files = killedAfter(steps), life = live(places, files);
      isWhole = await Promise.race([life.whole, files.killed]);
      const spool = await EndedSpool.open(places, quiet());
      const rows = new Map(spool.pending().map((row) => [row.session, row]));
      for (const session of life.began) {
        const row = rows.get(session);
        // What was acknowledged, or is just being so, may be forgotten.
        assert.ok(row !== undefined || life.acknowledging.has(session), `${session} after ${steps} steps`);
        if (life.ended.has(session) && row !== undefined) assert.deepEqual(row, rowOf(session));
      }
      // And the next start tells the same again, not something else.
      const again = await EndedSpool.open(places, quiet());
      assert.deepEqual(again.pending().map(({ session }) => session).toSorted(), [...rows.keys()].toSorted());
      for (const row of again.pending()) assert.deepEqual(row, rows.get(row.session));
    });
  }
});

Deno.test("EndedSpool can be killed while it is opened after a kill", async () => {
  let isWhole = false;
  for (let steps = 0; !isWhole; steps++) {
    assert.ok(steps < 200);
    await withPlaces(async (places) => {
      await Deno.writeTextFile(places.sessionsPath, JSON.stringify([FIRST, SECOND]));
      const files = killedAfter(steps);
      isWhole = await Promise.race([EndedSpool.open(places, quiet(), files).then(() => true), files.killed]);
      const spool = await EndedSpool.open(places, quiet());
      assert.deepEqual(
        spool.pending().toSorted((a, b) => a.session < b.session ? -1 : 1),
        [stopped(FIRST), stopped(SECOND)],
      );
    });
  }
});

Deno.test("EndedSpool keeps the row of a session that was still named as open when it was killed", async () => {
  await withPlaces(async (places) => {
    await Deno.writeTextFile(`${places.endedFolder}/${FIRST}.json`, JSON.stringify(rowOf(FIRST)));
    await Deno.writeTextFile(places.sessionsPath, JSON.stringify([FIRST]));
    const spool = await EndedSpool.open(places, quiet());
    assert.deepEqual(spool.pending(), [rowOf(FIRST)]);
    assert.equal(await Deno.readTextFile(places.sessionsPath), "[]\n");
  });
});

Deno.test("EndedSpool forgets an acknowledged row for good, and takes a second word of it", async () => {
  await withPlaces(async (places) => {
    const spool = await EndedSpool.open(places, quiet());
    await spool.began(FIRST);
    await spool.ended(rowOf(FIRST));
    await spool.acknowledged(FIRST);
    await spool.acknowledged(FIRST);
    assert.deepEqual(spool.pending(), []);
    assert.deepEqual((await EndedSpool.open(places, quiet())).pending(), []);
  });
});

Deno.test("EndedSpool tells nothing of a session that never began", async () => {
  await withPlaces(async (places) => {
    const spool = await EndedSpool.open(places, quiet());
    await spool.began(FIRST);
    await spool.neverBegan(FIRST);
    assert.deepEqual((await EndedSpool.open(places, quiet())).pending(), []);
  });
});

Deno.test("EndedSpool writes many sessions at once without losing one", async () => {
  await withPlaces(async (places) => {
    const ids = Array.from({ length: 40 }, (_, at) => at.toString(16).padStart(16, "0"));
    const spool = await EndedSpool.open(places, quiet());
    await Promise.all(ids.map((id) => spool.began(id)));
    await Promise.all(ids.slice(20).map((id) => spool.ended(rowOf(id))));
    const again = await EndedSpool.open(places, quiet());
    const endings = again.pending().toSorted((a, b) => a.session < b.session ? -1 : 1).map(({ ending }) =>
      ending
    );
    assert.deepEqual(endings, ids.map((_, at) => at < 20 ? "agent_stopped" : "done"));
  });
});

Deno.test("EndedSpool says of a row that cannot be read what is left of it", async () => {
  await withPlaces(async (places) => {
    await Deno.writeTextFile(`${places.endedFolder}/${FIRST}.json`, "{");
    await Deno.writeTextFile(`${places.endedFolder}/${SECOND}.json`, JSON.stringify(rowOf(FIRST)));
    await Deno.writeTextFile(`${places.endedFolder}/notes.txt`, "no row");
    await Deno.writeTextFile(places.sessionsPath, "[");
    const lines: string[] = [];
    const spool = await EndedSpool.open(places, quiet(lines));
    assert.deepEqual(
      spool.pending().toSorted((a, b) => a.session < b.session ? -1 : 1),
      [stopped(FIRST), stopped(SECOND)],
    );
    assert.deepEqual(lines.map((line) => /WARN agent: (.*?) (?:path|error)=/.exec(line)?.[1]).toSorted(), [
      "a row of an ended session could not be read",
      "a row of an ended session is not whole",
      "the list of open sessions is none",
    ]);
  });
});

/** Files on a disk that may be full. */
function fillable(): FileLayer & { isFull: boolean } {
  return {
    ...systemFiles,
    isFull: false,
    createNew(path, mode): Promise<OpenFile> {
      if (this.isFull) return Promise.reject(new Error("No space left on device (os error 28)"));
      return systemFiles.createNew(path, mode);
    },
  };
}

Deno.test("EndedSpool lets sessions begin and end on a full disk, and tells of them all the same", async () => {
  await withPlaces(async (places) => {
    const files = fillable(), lines: string[] = [];
    const spool = await EndedSpool.open(places, quiet(lines), files);
    files.isFull = true;
    await spool.began(FIRST);
    await spool.ended(rowOf(FIRST));
    assert.deepEqual(spool.pending(), [rowOf(FIRST)]);
    assert.match(lines[0] ?? "", /ERROR agent: sessions cannot be kept on disk .*No space left/);
    await spool.acknowledged(FIRST);
    assert.deepEqual(spool.pending(), []);
    files.isFull = false;
    await spool.began(SECOND);
    assert.deepEqual((await EndedSpool.open(places, quiet())).pending(), [stopped(SECOND)]);
  });
});

Deno.test("EndedSpool is opened on a full disk, and forgets nothing that was kept before", async () => {
  await withPlaces(async (places) => {
    const files = fillable(), before = await EndedSpool.open(places, quiet(), files);
    await before.began(FIRST);
    await before.began(SECOND);
    files.isFull = true;
    await before.ended(rowOf(FIRST));
    const spool = await EndedSpool.open(places, quiet(), files);
    assert.deepEqual(spool.pending(), [stopped(FIRST), stopped(SECOND)]);
    files.isFull = false;
    await spool.acknowledged(SECOND);
    // Killed now: the one that was not acknowledged is still known.
    assert.deepEqual((await EndedSpool.open(places, quiet())).pending(), [stopped(FIRST)]);
  });
});
