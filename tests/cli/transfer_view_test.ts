/** What a person reads of the events of a transfer. */
import assert from "node:assert/strict";
import type { ProgressView, Snapshot } from "../../src/cli/transfer_progress.ts";
import { TransferView, type TransferViewOptions } from "../../src/cli/transfer_view.ts";
import type { TransferEvent } from "../../src/protocol/transfer/events.ts";
import type { Offer } from "../../src/protocol/transfer/offer.ts";

const OFFER: Offer = {
  kind: "files",
  entries: (["d", "d/a", "d/b", "c"] as const).map((path) => ({
    kind: path === "d" ? "folder" : "file",
    path,
    sizeBytes: path === "d" ? 0 : 1000,
    modifiedMs: 0,
    mode: 0o644,
  })),
  totalBytes: 3000,
};

/** A view with its lines, what is drawn last, and a clock. */
class Screen {
  readonly lines: string[] = [];
  nowMs = 0;
  drawn: (() => Snapshot) | null = null;
  clears = 0;
  readonly view: TransferView;

  constructor(options: Partial<TransferViewOptions> = {}) {
    const progress: ProgressView = {
      changed: (snapshot): void => {
        this.drawn = snapshot;
      },
      clear: (): void => {
        this.drawn = null;
        this.clears++;
      },
    };
    this.view = new TransferView({
      side: "sender",
      relay: "relay.example:8080",
      receivers: 1,
      graceMs: 120_000,
      waitMs: 3_600_000,
      progress,
      monotonicMs: () => this.nowMs,
      print: (line) => {
        // Never into what is drawn.
        assert.equal(this.drawn, null);
        this.lines.push(line);
      },
      ...options,
    });
  }

  take(...events: readonly TransferEvent[]): void {
    for (const event of events) this.view.take(event);
  }
}

const paired: TransferEvent = { event: "paired", receiver: 1, resumed: false };
const offer: TransferEvent = { event: "offer", receiver: 1, offer: OFFER };
const accepted: TransferEvent = { event: "accepted", receiver: 1, missingBytes: 3000 };

function progress(receivedBytes: number, file: number, fileBytes: number, receiver = 1): TransferEvent {
  return { event: "progress", receiver, receivedBytes, file, fileBytes };
}

Deno.test("TransferView tells a sender who came, what is offered, and how it ended", () => {
  const screen = new Screen();
  screen.take({ event: "code", code: "1234-a-b-c" }, { event: "waiting" }, paired, offer, accepted);
  screen.nowMs = 2000;
  screen.take(progress(3000, 3, 1000), { event: "done", receiver: 1 });
  assert.deepEqual(screen.lines, [
    "waiting for the other side at relay.example:8080, for up to 60 min",
    "the receiver is there, and knows the code",
    "offering 3 files and 1 folder, 3.0 kB",
    "the receiver has received and verified 3 files and 1 folder, 3.0 kB in 2 s, 1.5 kB/s",
  ]);
});

Deno.test("TransferView draws bytes, files and the current file", () => {
  const screen = new Screen({ side: "receiver" });
  screen.take(paired, offer, accepted, progress(500, 1, 500));
  assert.deepEqual(screen.drawn?.(), {
    doneBytes: 500,
    totalBytes: 3000,
    doneFiles: 0,
    files: 3,
    bytesPerSecond: null,
    current: { name: "d/a", doneBytes: 500, sizeBytes: 1000 },
  });
  screen.nowMs = 1500;
  screen.take(progress(1500, 2, 500));
  assert.deepEqual(screen.drawn?.(), {
    doneBytes: 1500,
    totalBytes: 3000,
    doneFiles: 1,
    files: 3,
    bytesPerSecond: 1000,
    current: { name: "d/b", doneBytes: 500, sizeBytes: 1000 },
  });
  screen.take(progress(2000, 2, 1000), { event: "file_done", receiver: 1, file: 2 });
  assert.equal(screen.drawn?.().doneFiles, 2);
});

Deno.test("TransferView of a sender goes by what the receiver says that it has, not by what was said", () => {
  const screen = new Screen();
  screen.take(paired, offer, accepted, progress(0, 3, 1000));
  assert.deepEqual(screen.drawn?.().current, { name: "d/a", doneBytes: 0, sizeBytes: 1000 });
  screen.take(progress(1500, 3, 1000));
  assert.deepEqual(screen.drawn?.().current, { name: "d/b", doneBytes: 500, sizeBytes: 1000 });
  screen.take(progress(3000, 3, 1000));
  assert.deepEqual(screen.drawn?.().current, { name: "c", doneBytes: 1000, sizeBytes: 1000 });
});

Deno.test("TransferView counts what came before as done, and not as speed", () => {
  const screen = new Screen({ side: "receiver" });
  screen.take({ ...paired, resumed: true }, offer, { ...accepted, missingBytes: 1000 });
  screen.nowMs = 1000;
  screen.take(progress(2500, 3, 500), progress(2600, 3, 600));
  assert.deepEqual(screen.lines, [
    "the sender is there again",
    "1.0 kB to go, the other 2.0 kB came before",
  ]);
  assert.equal(screen.drawn?.().doneBytes, 2600);
  screen.nowMs = 2000;
  screen.take({ event: "done", receiver: 1 });
  assert.equal(
    screen.lines.at(-1),
    "received and verified 3 files and 1 folder, 3.0 kB in 2 s, 300 B/s",
  );
});

Deno.test("TransferView tells a lost link at once, for how long it is tried again, and that it is back", () => {
  const screen = new Screen();
  screen.take(paired, offer, accepted, progress(500, 1, 500));
  screen.nowMs = 500;
  screen.take(progress(1000, 1, 1000));
  screen.take({ event: "interrupted", receiver: 1, reason: "lost", message: "the link was lost" });
  assert.equal(screen.drawn, null);
  screen.take({ ...paired, resumed: true }, { ...accepted, missingBytes: 2000 });
  assert.deepEqual(screen.lines.slice(2), [
    "warning: the link was lost; trying again for up to 2 min",
    "the receiver is there again",
    "2.0 kB to go, the other 1.0 kB came before",
  ]);
  // The speed from before the gap says nothing.
  screen.take(progress(1100, 2, 100));
  const snapshot = (screen.drawn as (() => Snapshot) | null)?.();
  assert.equal(snapshot?.bytesPerSecond, null);
});

Deno.test("TransferView sums up several receivers, and names them", () => {
  const screen = new Screen({ receivers: 2 });
  screen.take(paired, offer, accepted, { ...paired, receiver: 2 }, { ...offer, receiver: 2 });
  screen.take({ ...accepted, receiver: 2 }, progress(1000, 1, 1000), progress(500, 1, 500, 2));
  const snapshot = screen.drawn?.();
  assert.deepEqual(
    [snapshot?.doneBytes, snapshot?.totalBytes, snapshot?.files, snapshot?.current?.name],
    [1500, 6000, 6, "receiver 2: d/a"],
  );
  screen.take(
    { event: "interrupted", receiver: 2, reason: "lost", message: "the link was lost" },
    {
      event: "receiver_failed",
      receiver: 2,
      reason: "refused",
      message: "the other side ended the transfer",
    },
    { event: "done", receiver: 1 },
  );
  assert.deepEqual(screen.lines.slice(-3), [
    "warning: receiver 2: the link was lost; trying again for up to 2 min",
    "warning: receiver 2 has failed: the other side ended the transfer",
    "receiver 1 has received and verified 3 files and 1 folder, 3.0 kB in 0 s",
  ]);
});

Deno.test("TransferView before anybody came: an unreachable relay is told, and nobody is counted for it", () => {
  const screen = new Screen({ receivers: 2 });
  screen.take({
    event: "interrupted",
    receiver: 1,
    reason: "unreachable",
    message: "cannot use the relay: gone",
  });
  screen.take({ event: "waiting" }, { ...paired, receiver: 1 }, offer, accepted, { event: "waiting" });
  assert.deepEqual(screen.lines, [
    "warning: receiver 1: cannot use the relay: gone; trying again for up to 2 min",
    "waiting for the other side at relay.example:8080, for up to 60 min",
    "receiver 1 is there, and knows the code",
    "offering 3 files and 1 folder, 3.0 kB",
    "waiting for another receiver at relay.example:8080",
  ]);
});

Deno.test("TransferView shows names without what could drive a terminal", () => {
  const screen = new Screen({ side: "receiver" });
  const entry = { kind: "file" as const, path: "\x1b[2J", sizeBytes: 10, modifiedMs: 0, mode: 0 };
  screen.take({ event: "offer", receiver: 1, offer: { kind: "files", entries: [entry], totalBytes: 10 } });
  screen.take({ ...accepted, missingBytes: 10 }, progress(5, 0, 5));
  assert.equal(screen.drawn?.().current?.name, "\\u001b[2J");
});

Deno.test("TransferView of 100,000 files costs next to nothing per event", () => {
  const screen = new Screen({ side: "receiver" });
  const entries = Array.from({ length: 100_000 }, (_, i) => ({
    kind: "file" as const,
    path: `f${i}`,
    sizeBytes: 1,
    modifiedMs: 0,
    mode: 0,
  }));
  screen.take(paired, {
    event: "offer",
    receiver: 1,
    offer: { kind: "files", entries, totalBytes: 100_000 },
  });
  screen.take({ ...accepted, missingBytes: 100_000 });
  for (let i = 0; i < entries.length; i++) {
    screen.take(progress(i + 1, i, 1), { event: "file_done", receiver: 1, file: i });
  }
  assert.equal(screen.drawn?.().doneFiles, 100_000);
});
