/** What others have put in the way of a setup: refused before anything is changed, or told of. */
import assert from "node:assert/strict";
import { examine, type SetupOptions } from "../../src/setup/preflight.ts";
import { runSetup } from "../../src/setup/setup.ts";
import { describeError, Failure } from "../../src/system/failure.ts";
import { FakeMachine } from "./fake_machine.ts";

const OPTIONS: SetupOptions = {
  root: "/",
  ips: "9.9.9.9",
  port: 34020,
  keyName: "user",
  from: undefined,
  program: { selfExtractingPath: "/root/postern-setup", isCompiled: false, execPath: "/deno" },
};
const EVIL = { uid: 1000, gid: 1000 };
const CONFIG = "/etc/postern/config.toml";

interface Trap {
  readonly what: string;
  readonly lay: (machine: FakeMachine) => void;
  readonly options?: Partial<SetupOptions>;
  readonly message: RegExp;
}

const TRAPS: readonly Trap[] = [
  ...["/etc/postern", "/var/lib/postern", "/var/lib/postern-setup", "/var/cache/postern"].map((
    path,
  ): Trap => ({
    what: `${path} of another user`,
    lay: (m) => {
      m.folder(path);
      m.change(path, { owner: EVIL });
    },
    message: new RegExp(`${path} is owned by uid 1000|could not trust ${path}: found owned by uid 1000`),
  })),
  ...[0o777, 0o1777, 0o775].map((mode): Trap => ({
    what: `/etc/postern of mode ${mode.toString(8)}`,
    lay: (m) => {
      m.folder("/etc/postern");
      m.change("/etc/postern", { mode, owner: { uid: 0, gid: 50 } });
    },
    message: /\/etc\/postern is mode \d{4}/,
  })),
  {
    what: "a folder above that everybody may write",
    lay: (m) => m.change("/usr/local/bin", { mode: 0o777 }),
    message: /\/usr\/local\/bin is mode 0777, accepted is owner root and nobody else may write it/,
  },
  {
    what: "a link to a folder of another user",
    lay: (m) => {
      m.folder("/home");
      m.folder("/home/evil");
      m.change("/home/evil", { owner: EVIL });
      m.symlink("/etc/postern", "/home/evil");
    },
    message: /\/home\/evil is owned by uid 1000|\/etc\/postern is owned by uid 1000/,
  },
  {
    what: "a link that leads nowhere in the place of a file",
    lay: (m) => m.symlink("/usr/local/bin/postern-server", "/nowhere"),
    message: /postern-server is a link that leads nowhere, accepted is a file, or nothing/,
  },
  {
    what: "a folder in the place of an executable",
    lay: (m) => m.folder("/usr/local/bin/postern-server"),
    message: /postern-server is a folder, accepted is a file, or nothing/,
  },
  {
    what: "a pipe in the place of the configuration",
    lay: (m) => {
      m.folder("/etc/postern");
      m.file(CONFIG, "");
      m.change(CONFIG, { isFifo: true });
    },
    message: /config\.toml is a pipe, accepted is a file, or nothing/,
  },
  {
    what: "an executable of another user, which root would run",
    lay: (m) => {
      m.file("/usr/local/bin/postern-commander", "evil");
      m.change("/usr/local/bin/postern-commander", { owner: EVIL });
    },
    message: /postern-commander is owned by uid 1000/,
  },
  {
    what: "a unit that a group may write",
    lay: (m) => {
      m.file("/etc/systemd/system/postern-server.service", "");
      m.change("/etc/systemd/system/postern-server.service", { mode: 0o664, owner: { uid: 0, gid: 50 } });
    },
    message: /postern-server\.service is mode 0664 and group 50/,
  },
  {
    what: "a tree whose link leads out of it",
    lay: (m) => {
      for (const path of ["/mnt", "/mnt/var", "/mnt/var/lib"]) m.folder(path);
      m.symlink("/mnt/etc", "/etc");
    },
    options: { root: "/mnt" },
    message: /cannot set up the system below \/mnt: \/mnt\/etc is a link, and leads to \/etc/,
  },
  {
    what: "a tree with a file that is a link",
    lay: (m) => {
      for (const path of ["/mnt", "/mnt/etc", "/mnt/etc/postern", "/mnt/var"]) m.folder(path);
      m.file("/etc/ours", "");
      m.symlink(`/mnt${CONFIG}`, "/etc/ours");
    },
    options: { root: "/mnt" },
    message: /config\.toml is a link, and leads to \/etc\/ours/,
  },
  {
    what: "a user postern that is root",
    lay: (m) => m.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\npostern:x:0:0::/:/bin/sh\n"),
    message: /found user postern with the number of root/,
  },
  {
    what: "a group postern that is root's",
    lay: (m) => m.file("/etc/group", "root:x:0:\npostern:x:0:\n"),
    message: /found group postern with the number of root/,
  },
  {
    what: "a clock of 1970",
    lay: (m) => m.wallMs = 1000,
    message: /the clock says 1970-01-01T00:00:01\.000Z, accepted is a time after 2026-01-01/,
  },
  {
    what: "executables in a folder that everybody may write",
    lay: (m) => {
      for (const role of ["client", "server", "commander", "setup"]) m.file(`/dist/postern-${role}`, role);
      m.folder("/dist");
      m.change("/dist", { mode: 0o777 });
    },
    options: { from: "/dist" },
    message: /cannot install \/dist\/postern-client: everybody may write \/dist/,
  },
  {
    what: "an executable that everybody may write",
    lay: (m) => m.change("/root/postern-setup", { mode: 0o757 }),
    message: /everybody may write \/root\/postern-setup/,
  },
  {
    what: "a key name that reads as an option",
    lay: () => {},
    options: { keyName: "-x" },
    message: /--key-name/,
  },
  {
    what: "a key name without an end",
    lay: () => {},
    options: { keyName: "x".repeat(65) },
    message: /--key-name/,
  },
  { what: "an empty key name", lay: () => {}, options: { keyName: "" }, message: /--key-name/ },
  ...["0.0.0.0", "[::]", "::", "localhost", "9.9.9.9,", "127.0.0.1"].map((ips): Trap => ({
    what: `--ips ${ips}`,
    lay: () => {},
    options: { ips },
    message: /cannot use option --ips/,
  })),
];

for (const { what, lay, options, message } of TRAPS) {
  Deno.test(`runSetup() refuses ${what} before it acts`, async () => {
    const machine = new FakeMachine();
    lay(machine);
    const before = machine.tree();
    const error = await runSetup(machine, { ...OPTIONS, ...options }, []).then(
      () => null,
      (each: unknown) => each,
    );
    assert(error instanceof Failure, String(error));
    assert.match(describeError(error), message);
    assert.deepEqual(machine.acts, []);
    assert.deepEqual(machine.tree(), before);
  });
}

async function notesOf(
  lay: (machine: FakeMachine) => void,
  options: Partial<SetupOptions> = {},
): Promise<string> {
  const machine = new FakeMachine();
  lay(machine);
  return (await examine(machine, { ...OPTIONS, ...options })).notes.join("\n");
}

Deno.test("examine() tells of a group that may write in /usr/local, as on some Debians", async () => {
  const notes = await notesOf((m) =>
    m.change("/usr/local/bin", { mode: 0o2775, owner: { uid: 0, gid: 50 } })
  );
  assert.match(notes, /whoever is in group 50 may write \/usr\/local\/bin \(mode 2775\)/);
  assert.equal(await notesOf((m) => m.change("/usr/local/bin", { mode: 0o2775 })), "");
});

Deno.test("examine() tells of an account that was there before and is more than a service's", async () => {
  const notes = await notesOf((m) => {
    m.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\npostern:x:1000:1000::/home/p:/bin/bash\n");
    m.file("/etc/group", "root:x:0:\npostern:x:1000:alice,postern\ndocker:x:99:bob,postern\n");
  });
  assert.match(notes, /user postern was there before and may log in \(shell \/bin\/bash\)/);
  assert.match(notes, /in group postern, whose members read every key: alice$/m);
  assert.match(notes, /user postern is in group docker, and so is the server/);
});

Deno.test("examine() accepts a state folder that belongs to the service's user already", async () => {
  const notes = await notesOf((m) => {
    m.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\npostern:x:997:997::/:/usr/sbin/nologin\n");
    m.file("/etc/group", "root:x:0:\npostern:x:997:\n");
    m.folder("/var/lib/postern");
    m.change("/var/lib/postern", { owner: { uid: 997, gid: 997 }, mode: 0o700 });
  });
  assert.equal(notes, "");
});

Deno.test("examine() tells whose executables root will run", async () => {
  const notes = await notesOf((m) => m.change("/root/postern-setup", { owner: EVIL }));
  assert.match(notes, /\/root\/postern-setup belongs to uid 1000, and is what root runs from now on/);
});
