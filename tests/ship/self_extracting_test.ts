/**
 * The self-extracting executables as they are built: what they unpack, what they do with a cache that was tampered
 * with, and that they are the program. One file, so that they are built once.
 */
import assert from "node:assert/strict";
import { deriveRole, HEADER_BYTES, isCompiled, isSelfExtracting } from "../../src/setup/self_extracting.ts";
import { type Role, ROLES } from "../../src/cli/command_spec.ts";
import { Cable } from "../../scripts/cable.ts";
import { writeLabFiles } from "../../scripts/lab.ts";
import { eachFlagIsNeeded, runToEnd, type Startable } from "../permission_proof.ts";
import { mountObstacle, succeeds, unless } from "../e2e/machine.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { until } from "../e2e/until.ts";
import { buildObstacle, BuiltFiles } from "./built_files.ts";
import { BareMachine, bareMachineObstacle } from "./bare_machine.ts";
import { Cache } from "./cache.ts";
import { start, type Started, type StartOptions } from "./started.ts";

const obstacle = buildObstacle();
const rootObstacle = obstacle ?? (Deno.uid() === 0 ? null : "needs root");
const mounts = obstacle ?? await mountObstacle();
const STRANGER = 64_123;
const AS_STRANGER = ["setpriv", `--reuid=${STRANGER}`, `--regid=${STRANGER}`, "--clear-groups"];

const buildFolder = await Deno.makeTempDir({ prefix: "postern-ship-" });
const files = obstacle === null ? await BuiltFiles.build(buildFolder) : null;
Deno.test.afterAll(() => Deno.remove(buildFolder, { recursive: true }));

function built(role: Role): string {
  assert(files !== null);
  return files.path(role);
}

function test(name: string, fn: (t: Deno.TestContext) => Promise<void>, why = obstacle): void {
  Deno.test({ ...unless(why, name), timeout: 60_000, fn });
}

/** A home with a cache in it. */
class Home implements AsyncDisposable {
  readonly #folder: TempFolder;
  readonly cache: Cache;

  private constructor(folder: TempFolder) {
    this.#folder = folder;
    this.cache = new Cache(`${folder.path}/cache`);
  }

  static async make(): Promise<Home> {
    return new Home(await TempFolder.make("ship-home"));
  }

  get path(): string {
    return this.#folder.path;
  }

  start(role: Role, words: readonly string[], options: StartOptions = {}): Promise<Started> {
    const env = { HOME: this.path, POSTERN_CACHE_DIR: this.cache.folder, ...options.env };
    return start(built(role), words, { ...options, env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** The home of all tests that change nothing in its cache. */
const usedHome = obstacle === null ? await Home.make() : null;
Deno.test.afterAll(() => usedHome?.[Symbol.asyncDispose]());

function sharedHome(): Home {
  assert(usedHome !== null);
  return usedHome;
}

function assertVersion({ code, stdout, stderr }: Started): void {
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  assert.match(stdout, /^postern \d+\.\d+\.\d+/);
}

test("deriveRole() makes of any role's executable what was built for another, byte for byte", async () => {
  await using folder = await TempFolder.make("derived");
  for (const [at, role] of ROLES.entries()) {
    const other = ROLES[(at + 1) % ROLES.length] ?? role;
    await deriveRole(built(other), role, `${folder.path}/${role}`, 0o750);
    assert.deepEqual(await Deno.readFile(`${folder.path}/${role}`), await Deno.readFile(built(role)));
    assert.equal((await Deno.stat(`${folder.path}/${role}`)).mode ?? 0 & 0o777, 0o100750);
  }
});

test("isSelfExtracting() knows its own and refuses a shell script, a bundle and half a header", async () => {
  await using folder = await TempFolder.make("others");
  assert.equal(await isSelfExtracting(built("server")), true);
  const half = (await Deno.readFile(built("server"))).subarray(0, HEADER_BYTES - 1);
  await Deno.writeFile(`${folder.path}/half`, half);
  await Deno.writeTextFile(`${folder.path}/script`, `#!/bin/sh\n${"\n".repeat(HEADER_BYTES)}`);
  for (const path of [`${folder.path}/half`, `${folder.path}/script`, `${buildFolder}/postern.js`]) {
    assert.equal(await isSelfExtracting(path), false, path);
  }
});

test("isCompiled() tells a program of the machine from what begins as a script", async () => {
  assert.equal(await isCompiled(built("server")), false);
  assert.equal(await isCompiled(HEADER_PATH), false);
  assert.equal(await isCompiled(Deno.execPath()), true);
});

const HEADER_PATH = new URL("../../src/setup/self_extracting_header.sh", import.meta.url).pathname;

Deno.test({
  ...unless(
    await succeeds("shellcheck", ["--version"]) ? null : "needs shellcheck",
    "shellcheck finds nothing in the header of the self-extracting executables",
  ),
  timeout: 30_000,
  async fn(): Promise<void> {
    const { code, stdout } = await new Deno.Command("shellcheck", { args: ["--shell=sh", HEADER_PATH] })
      .output();
    assert.equal(code, 0, new TextDecoder().decode(stdout));
  },
});

test("two builds give the same bytes, and sha256sum -c agrees with SHA256SUMS", async () => {
  await using folder = await TempFolder.make("again");
  const again = await BuiltFiles.build(folder.path);
  for (const name of ["postern.js", "SHA256SUMS"]) {
    assert.equal(
      await Deno.readTextFile(`${again.folder}/${name}`),
      await Deno.readTextFile(`${buildFolder}/${name}`),
    );
  }
  const { success, stdout } = await new Deno.Command("sha256sum", {
    args: ["-c", "--strict", "SHA256SUMS"],
    cwd: buildFolder,
  }).output();
  assert(success);
  assert.equal(new TextDecoder().decode(stdout).match(/: OK$/gm)?.length, ROLES.length + 1);
});

/** What only the code of one role says, when it works: at a knock, and as a part of the manage job. */
const SAID_BY = {
  client: ["the server never answers", "trying again, ~. leaves"],
  server: ["server ready", "management server ready"],
  commander: ["commander ready", "linked to the server"],
} as const;

test("a role's bundle holds no other role's code", async () => {
  for (const role of ["client", "server", "commander"] as const) {
    const code = await bundleIn(built(role), role);
    for (const [each, texts] of Object.entries(SAID_BY)) {
      for (const said of texts) assert.equal(code.includes(said), each === role, `${role}: ${said}`);
    }
  }
});

test("client and server hold nothing that could start a program", async () => {
  for (const role of ["client", "server"] as const) {
    assert.doesNotMatch(await bundleIn(built(role), role), /\bDeno\.Command\b|node:child_process/, role);
  }
});

async function headerOf(path: string): Promise<string> {
  return new TextDecoder("latin1").decode((await Deno.readFile(path)).subarray(0, HEADER_BYTES));
}

/** A bundle as it lies in an executable; the header says where. */
async function bundleIn(path: string, role: Role): Promise<string> {
  const file = await Deno.readFile(path);
  const header = await headerOf(path);
  const [, at, bytes] = new RegExp(`^${role}\\) bundle_at=(\\d+) bundle_bytes=(\\d+) `, "m").exec(header) ??
    [];
  const start = Number(at) - 1;
  return new TextDecoder().decode(file.subarray(start, start + Number(bytes)));
}

test("an executable unpacks once: a second start leaves what is there as it is", async () => {
  await using home = await Home.make();
  assertVersion(await home.start("client", ["--version"]));
  const before = [await home.cache.fingerprint("deno"), await home.cache.fingerprint("postern.mjs")];
  assertVersion(await home.start("client", ["--version"]));
  assert.deepEqual(
    [await home.cache.fingerprint("deno"), await home.cache.fingerprint("postern.mjs")],
    before,
  );
  // Another role finds the runtime there.
  assertVersion(await home.start("setup", ["--version"]));
  assert.equal(await home.cache.fingerprint("deno"), before[0]);
  assert.equal((await home.cache.names()).length, 3);
});

const SPOILT: readonly (readonly [what: string, kind: "deno" | "postern.mjs", command: string])[] = [
  [
    "a runtime with another byte in it",
    "deno",
    'chmod u+w "$entry/deno"; printf x | dd of="$entry/deno" bs=1 seek=4096 conv=notrunc status=none; chmod 0555 "$entry/deno"',
  ],
  [
    "a runtime with a byte more",
    "deno",
    'chmod u+w "$entry/deno"; printf x >>"$entry/deno"; chmod 0555 "$entry/deno"',
  ],
  [
    "another file as the runtime",
    "deno",
    'rm -f "$entry/deno"; cp /bin/true "$entry/deno"; chmod 0555 "$entry/deno"',
  ],
  ["a link as the runtime", "deno", 'mv "$entry/deno" "$entry/d"; ln -s d "$entry/deno"'],
  ["a runtime that others may write to", "deno", 'chmod 0757 "$entry/deno"'],
  ["an altered marker", "deno", 'rm -f "$entry/marker"; echo 0 555 1 1 1 >"$entry/marker"'],
  ["an empty marker", "deno", 'rm -f "$entry/marker"; : >"$entry/marker"'],
  [
    "half a runtime without a marker",
    "deno",
    'rm -f "$entry/marker"; chmod u+w "$entry/deno"; truncate -s 1M "$entry/deno"',
  ],
  ["a folder that its group may write to", "deno", 'chmod g+w "$entry"'],
  ["an altered bundle", "postern.mjs", 'chmod u+w "$entry/$kind"; echo "Deno.exit(9)" >"$entry/$kind"'],
  ["a bundle that others may write to", "postern.mjs", 'chmod o+w "$entry/$kind"'],
  // On a file the bit means nothing, and in a folder of ours nobody else has any business.
  ["a bundle that others may write to, with the sticky bit", "postern.mjs", 'chmod 1646 "$entry/$kind"'],
  ["a sticky folder of a bundle", "postern.mjs", 'chmod 1777 "$entry"'],
  ["no bundle", "postern.mjs", 'rm -f "$entry/$kind"; touch "$entry/other"; mkdir "$entry/$kind"'],
];
test("a cache that is damaged or tampered with is not believed but made anew", async (t) => {
  await using home = await Home.make();
  assertVersion(await home.start("client", ["--version"]));
  const names = await home.cache.names();
  for (const [what, kind, command] of SPOILT) {
    await t.step(what, async () => {
      const good = await home.cache.fingerprint(kind);
      const untouched = kind === "deno" ? "postern.mjs" : "deno";
      const other = await home.cache.fingerprint(untouched);
      await home.cache.spoil(kind, command);
      assertVersion(await home.start("client", ["--version"]));
      assert.notEqual(await home.cache.fingerprint(kind), good);
      assert.equal(await home.cache.fingerprint(untouched), other);
      assert.deepEqual(await home.cache.names(), names);
    });
  }
});

test("an entry of another user is not believed but made anew", async () => {
  await using home = await Home.make();
  assertVersion(await home.start("client", ["--version"]));
  for (const kind of ["deno", "postern.mjs"] as const) {
    for (const command of ['chown -h 64123 "$entry"', 'chown -h 64123 "$entry/$kind"']) {
      const before = await home.cache.fingerprint(kind);
      await home.cache.spoil(kind, command);
      assertVersion(await home.start("client", ["--version"]));
      assert.notEqual(await home.cache.fingerprint(kind), before, `${kind}: ${command}`);
      assert.equal((await Deno.lstat(await home.cache.entry(kind))).uid, 0);
    }
  }
}, rootObstacle);

test(
  "a cache below a folder of another user, or one that others may write to, is refused, also a full one",
  async () => {
    await using home = await Home.make();
    const cases: readonly (readonly [spoil: string, repair: string, problem: RegExp])[] = [
      [`chown ${STRANGER} "$f"`, 'chown 0 "$f"', /belongs to another user \(uid 64123\)/],
      ['chmod 0777 "$f"', 'chmod 0755 "$f"', /others may write to it \(mode 0?777\)/],
      ['chmod 0775 "$f"', 'chmod 0755 "$f"', /others may write to it \(mode 0?775\)/],
    ];
    const cache = new Cache(`${home.path}/above/cache`);
    const env = { POSTERN_CACHE_DIR: cache.folder };
    await Deno.mkdir(cache.folder, { recursive: true });
    for (const entries of [0, 2]) {
      for (const f of [`${home.path}/above`, cache.folder]) {
        for (const [spoil, repair, problem] of cases) {
          assert(await succeeds("env", [`f=${f}`, "sh", "-c", spoil]));
          const { code, stdout, stderr } = await home.start("client", ["--version"], { env });
          assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
          assert.match(stderr, problem);
          assert(stderr.includes(`"${f}" is not safe`), stderr);
          assert.match(stderr, /^hint: .*POSTERN_CACHE_DIR/m);
          assert(await succeeds("env", [`f=${f}`, "sh", "-c", repair]));
        }
      }
      assert.equal((await cache.names()).length, entries);
      assertVersion(await home.start("client", ["--version"], { env }));
    }
  },
  rootObstacle,
);

test(
  "what a stranger left in a sticky folder is not even opened, and nothing is made in a folder of his",
  async () => {
    await using home = await Home.make();
    const runtime = /^runtime_at=\d+ runtime_sha256=(\w+)$/m.exec(await headerOf(built("client")))?.[1];
    const plant = `mkdir "$0/sticky" "$0/his" && chmod 1777 "$0/sticky" && cd "$0/sticky" &&
    mkdir ${runtime} && touch ${runtime}/deno && mkfifo ${runtime}/marker && chown -R ${STRANGER} ${runtime} "$0/his"`;
    assert(await succeeds("sh", ["-c", plant, home.path]));
    for (
      const [folder, problem] of [
        ["sticky", /sticky" is not safe: others may write to it \(mode 1777\)$/m],
        ["his/a/b", /his" is not safe: it belongs to another user \(uid 64123\)$/m],
      ] as const
    ) {
      const launcher = ["timeout", "10"];
      const env = { POSTERN_CACHE_DIR: `${home.path}/${folder}` };
      const { code, stderr } = await home.start("client", ["--version"], { launcher, env });
      assert.equal(code, 1, stderr);
      assert.match(stderr, problem);
    }
    assert.deepEqual(await Array.fromAsync(Deno.readDir(`${home.path}/his`)), []);
  },
  rootObstacle,
);

test("in a sticky folder above it nobody can touch a cache, and so it is used", async () => {
  await using home = await Home.make();
  await Deno.mkdir(`${home.path}/sticky`);
  await Deno.chmod(`${home.path}/sticky`, 0o1777);
  const env = { POSTERN_CACHE_DIR: `${home.path}/sticky/cache` };
  for (let round = 0; round < 2; round++) assertVersion(await home.start("client", ["--version"], { env }));
});

test("a link above a cache leads to it, and the folders above that are the ones that count", async () => {
  await using home = await Home.make();
  await Deno.mkdir(`${home.path}/real/deeper`, { recursive: true });
  await Deno.symlink("real/deeper", `${home.path}/link`);
  const env = { POSTERN_CACHE_DIR: `${home.path}/link/cache` };
  for (let round = 0; round < 2; round++) assertVersion(await home.start("client", ["--version"], { env }));
  await Deno.chmod(`${home.path}/real`, 0o777);
  const { code, stderr } = await home.start("client", ["--version"], { env });
  assert.equal(code, 1);
  assert(stderr.includes(`"${home.path}/real" is not safe`), stderr);
});

test("whatever the umask, nobody else may write to what is made, or hold its lock", async () => {
  await using home = await Home.make();
  const launcher = ["sh", "-c", 'umask 0; exec "$@"', "sh"];
  const env = { POSTERN_CACHE_DIR: `${home.path}/new/cache` };
  assertVersion(await home.start("client", ["--version"], { env, launcher }));
  const { stdout } = await new Deno.Command("find", { args: [`${home.path}/new`, "-perm", "/022"] }).output();
  // What the runtime remembers lies in a folder that is shut.
  const open = new TextDecoder().decode(stdout).split("\n").filter((path) =>
    !/\/cache\/deno\/|^$/.test(path)
  );
  assert.deepEqual(open, []);
  const modeOf = async (name: string): Promise<number> =>
    ((await Deno.stat(`${home.path}/new/cache/${name}`)).mode ?? 0) & 0o777;
  assert.deepEqual([await modeOf(".lock"), await modeOf("deno")], [0o600, 0o700]);
});

test("what the runtime remembers is kept where only the caller can write, or nowhere", async () => {
  await using home = await Home.make();
  const remembered = `${home.cache.folder}/deno`;
  for (const [mode, isKept] of [[0o755, false], [0o770, false], [0o1777, false], [0o700, true]] as const) {
    await Deno.mkdir(remembered, { recursive: true });
    await Deno.chmod(remembered, mode);
    assertVersion(await home.start("client", ["--version"]));
    assert.equal((await Array.fromAsync(Deno.readDir(remembered))).length > 0, isKept, mode.toString(8));
    await Deno.remove(remembered, { recursive: true });
  }
});

test("a bare machine without gzip is told so, and nothing is left there", async () => {
  await using machine = await BareMachine.make(files?.paths ?? []);
  await Deno.remove(machine.outside("/bin/gzip"));
  const { code, stderr } = await machine.run("postern-client", ["--version"]);
  assert.deepEqual({ code, stderr: stderr.split("\n") }, {
    code: 1,
    stderr: [
      "error: cannot unpack: found no gzip(1) in /usr/bin:/bin:/usr/sbin:/sbin",
      "hint: install gzip",
      "",
    ],
  });
  assert.deepEqual(await Array.fromAsync(Deno.readDir(machine.outside("/var/cache"))), []);
}, rootObstacle ?? await bareMachineObstacle());

test("root's cache serves everybody, read-only; whoever finds it spoilt uses his own", async () => {
  await using machine = await BareMachine.make(files?.paths ?? []);
  const shared = new Cache(machine.outside("/var/cache/postern"));
  const unpacked = await machine.run("postern-client", ["--unpack"]);
  assert.deepEqual(unpacked, { code: 0, stdout: "/var/cache/postern\n", stderr: "" });
  const before = await shared.fingerprint("deno");
  await Deno.mkdir(machine.outside("/home"), { mode: 0o755 });
  await Deno.mkdir(machine.outside("/home/stranger"), { mode: 0o700 });
  await Deno.chown(machine.outside("/home/stranger"), STRANGER, STRANGER);
  const as = { uid: STRANGER, env: { HOME: "/home/stranger" } };
  assertVersion(await machine.run("postern-client", ["--version"], as));
  const own = new Cache(machine.outside("/home/stranger/.cache/postern"));
  assert.deepEqual(await own.names(), []);
  // What the runtime remembers is his own; it is not believed below a folder that others may write to.
  const remembered = `${own.folder}/deno`;
  const isKept = async (): Promise<boolean> => (await Array.fromAsync(Deno.readDir(remembered))).length > 0;
  assert(await isKept());
  for await (const { name } of Deno.readDir(remembered)) {
    await Deno.remove(`${remembered}/${name}`, { recursive: true });
  }
  await Deno.chmod(machine.outside("/home/stranger/.cache"), 0o777);
  assertVersion(await machine.run("postern-client", ["--version"], as));
  assert(!await isKept());
  await Deno.chmod(machine.outside("/home/stranger/.cache"), 0o700);

  await shared.spoil("postern.mjs", 'echo "Deno.exit(9)" >"$entry/$kind"');
  assertVersion(await machine.run("postern-client", ["--version"], as));
  assert.equal((await own.names()).length, 2);
  assert.equal(await shared.fingerprint("deno"), before);
  // Only root repairs what is root's.
  assertVersion(await machine.run("postern-client", ["--version"]));
  assert.equal(await shared.fingerprint("deno"), before);
}, rootObstacle ?? await bareMachineObstacle());

for (const count of [2, 8]) {
  test(`${count} first starts at once all work, and leave one runtime and one bundle`, async () => {
    await using home = await Home.make();
    const starts = Array.from({ length: count }, () => home.start("client", ["--version"]));
    for (const each of await Promise.all(starts)) assertVersion(each);
    assert.equal((await home.cache.names()).length, 2);
  });
}

test("a start that is killed while it unpacks leaves nothing that a later one believes, or keeps for long", async () => {
  await using home = await Home.make();
  const child = new Deno.Command("setsid", {
    args: [built("client"), "--version"],
    env: { POSTERN_CACHE_DIR: home.cache.folder },
    stdout: "null",
    stderr: "null",
  }).spawn();
  const leftover = await until("a file is being unpacked", async () => {
    const names = await home.cache.names().catch(() => []);
    const name = names.find((each) => each.startsWith(".new."));
    if (name === undefined) return false;
    const size = await Deno.stat(`${home.cache.folder}/${name}/deno`).then((file) => file.size, () => 0);
    return size > 0 && name;
  });
  await succeeds("kill", ["-KILL", "--", `-${child.pid}`]);
  await child.status;
  assert.deepEqual(await home.cache.names(), [leftover]);

  assertVersion(await home.start("client", ["--version"]));
  // It may be another start's that is still at work.
  assert.equal((await home.cache.names()).length, 3);
  await home.cache.spoil(
    "postern.mjs",
    'rm -f "$entry/$kind"; touch -d "2 hours ago" "$entry"/../.new.*; mkdir "$entry/$kind"',
  );
  assertVersion(await home.start("client", ["--version"]));
  assert.equal((await home.cache.names()).length, 2);
});

test(
  "a home that is read-only, without room or noexec, and none at all, gives an error that says so",
  async () => {
    await using home = await Home.make();
    const folder = `${home.path}/disk`;
    await Deno.mkdir(folder);
    for (
      const [options, problem] of [
        ["ro", /Read-only file system/],
        ["size=8m", /No space left on device/],
        ["noexec", /do not run from there: .*Permission denied/],
      ] as const
    ) {
      const script = `mount -t tmpfs -o mode=0755,${options} none "$0" && exec "$@"`;
      const { code, stdout, stderr } = await home.start("client", ["--version"], {
        launcher: ["unshare", "--mount", "sh", "-c", script, folder],
        env: { POSTERN_CACHE_DIR: `${folder}/cache` },
      });
      assert.deepEqual({ code, stdout }, { code: 1, stdout: "" }, options);
      assert.match(stderr, problem);
      assert(stderr.startsWith(`error: cannot unpack into "${folder}/cache": `), stderr);
      assert.match(stderr, /^hint: .*POSTERN_CACHE_DIR/m);
    }
  },
  mounts,
);

test("without a home, or in one that is not writable, an unprivileged start says so", async () => {
  await using home = await Home.make();
  await Deno.chmod(home.path, 0o755);
  for (
    const [env, problem] of [
      [{}, /^error: cannot unpack into "": HOME is not set$/m],
      [{ HOME: home.path }, /^error: cannot unpack into ".*\/\.cache\/postern": .*Permission denied$/m],
      // One that is relative is to be ignored (XDG Base Directory Specification).
      [
        { HOME: home.path, XDG_CACHE_HOME: "cache" },
        /^error: cannot unpack into ".*\/\.cache\/postern": .*Permission denied$/m,
      ],
      [{ POSTERN_CACHE_DIR: "cache" }, /^error: cannot unpack into "cache": not an absolute path$/m],
    ] as const
  ) {
    const { code, stderr } = await start(built("client"), ["--version"], { launcher: AS_STRANGER, env });
    assert.equal(code, 1);
    assert.match(stderr, problem);
    assert.match(stderr, /^hint: set POSTERN_CACHE_DIR/m);
  }
}, rootObstacle);

test("a file that was cut off or altered is refused when it unpacks", async () => {
  await using home = await Home.make();
  const whole = await Deno.readFile(built("client"));
  const altered = whole.slice();
  altered[HEADER_BYTES + 10] = (altered[HEADER_BYTES + 10] ?? 0) ^ 1;
  for (const bytes of [whole.subarray(0, whole.length - 1000), altered]) {
    await Deno.writeFile(`${home.path}/postern-client`, bytes, { mode: 0o755 });
    const { code, stdout, stderr } = await start(`${home.path}/postern-client`, ["--version"], {
      env: { POSTERN_CACHE_DIR: home.cache.folder },
    });
    assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
    assert.equal(
      stderr,
      "error: cannot unpack: this file is damaged: get it again and compare it with SHA256SUMS\n",
    );
    assert.match((await home.cache.names()).join(" "), /^(?:[0-9a-f]{64})?$/);
  }
});

test("a header that was cut off anywhere does nothing, and one without a role says that it is damaged", async () => {
  await using home = await Home.make();
  const path = `${home.path}/cut`;
  const header = await headerOf(built("client"));
  const opened = header.indexOf("\n{\n") + 3;
  const closed = header.indexOf("\n}\n# Nothing");
  assert(opened > 3 && closed > opened);
  for (let at = opened; at !== -1 && at <= closed; at = header.indexOf("\n", at + 1)) {
    await Deno.writeTextFile(path, header.slice(0, at), { mode: 0o755 });
    const { code, stdout } = await start(path, ["--version"], {
      env: { POSTERN_CACHE_DIR: home.cache.folder },
    });
    assert.deepEqual({ code, stdout }, { code: 2, stdout: "" }, `cut off at ${at}`);
  }
  await Deno.writeTextFile(path, header.replace(/^role=client/m, "role=klient"));
  const { code, stderr } = await start(path, ["--version"]);
  assert.deepEqual({ code, stderr }, {
    code: 1,
    stderr: "error: cannot start: this file is damaged: get it again and compare it with SHA256SUMS\n",
  });
  assert.equal(await Deno.stat(home.cache.folder).then(() => true, () => false), false);
});

test("an executable is found by a link on PATH, and by a name with blanks, quotes and a star in it", async () => {
  await using home = await Home.make();
  // A line break at its end, too, that a shell is quick to lose.
  const folder = `${home.path}/o'd "d\\ir* $(x)\n`;
  await Deno.mkdir(folder);
  await Deno.copyFile(built("client"), `${folder}/my postern`);
  await Deno.symlink(built("client"), `${folder}/postern-client`);
  const env = { POSTERN_CACHE_DIR: `${home.path}/cache of 'mine'` };
  assertVersion(await start(`${folder}/my postern`, ["--version"], { env }));
  // By env, since Deno itself would make an absolute path of it.
  assertVersion(await start("./my postern", ["--version"], { env, cwd: folder, launcher: ["env"] }));
  assertVersion(
    await start("env", ["sh", "-c", "postern-client --version"], {
      env: { ...env, PATH: `${folder}:/usr/bin:/bin` },
    }),
  );
});

test("words and paths reach the program as they are: no blank, quote, newline or star in them does anything", async () => {
  const home = sharedHome();
  const path = `${home.path}/a key * 'of' "$(touch run)" -x`;
  const gen = await home.start("client", ["gen", "--key-file", path], { cwd: home.path });
  assert.deepEqual({ code: gen.code, stderr: gen.stderr.replace(/^.*\n$/, "") }, { code: 0, stderr: "" });
  assert.equal((await Deno.readTextFile(path)).trim().length, 56);
  assert.equal(await Deno.stat(`${home.path}/run`).then(() => true, () => false), false);
  const odd = await home.start("client", ["send", "one\ntwo *"]);
  assert.equal(odd.code, 2);
  assert.match(odd.stderr, /unexpected word "one.*two \*"/);
});

test("standard input is left to the program", async () => {
  const home = sharedHome();
  const { stdout: key } = await home.start("client", ["gen"]);
  const words = ["send", "-a", "127.0.0.1:9", "-k", "-", "--dry-run"];
  const sent = await home.start("client", words, { stdin: key });
  assert.deepEqual({ code: sent.code, stderr: sent.stderr }, { code: 0, stderr: "" });
  assert.match(sent.stdout, /^would send "default" to 127\.0\.0\.1:9 /);
});

test("nothing in the environment changes what the runtime does", async () => {
  const home = sharedHome();
  assertVersion(await home.start("client", ["--version"]));
  const other = `${home.path}/other`;
  const evil = `${home.path}/evil.mjs`;
  await Deno.writeTextFile(evil, `Deno.exit(9);`);
  const env = {
    DENO_DIR: other,
    DENO_V8_FLAGS: "--no-such-flag",
    DENO_COVERAGE_DIR: other,
    DENO_PERMISSION_BROKER_PATH: `${other}/socket`,
    DENO_UNSTABLE_BARE_NODE_BUILTINS: "1",
    NODE_OPTIONS: `--require ${evil}`,
    NODE_CHANNEL_FD: "3",
    SSLKEYLOGFILE: other,
    TAR_OPTIONS: `--checkpoint=1 --checkpoint-action=exec="touch ${other}"`,
    GZIP: "--no-such-option",
    OTEL_DENO: "true",
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9",
    PATH: other,
    IFS: "-",
  };
  assertVersion(await home.start("client", ["--version"], { env }));
  // Nor how it is unpacked.
  const fresh = { ...env, POSTERN_CACHE_DIR: `${home.path}/fresh` };
  assertVersion(await home.start("client", ["--version"], { env: fresh }));
  assert.equal(await Deno.stat(other).then(() => true, () => false), false);
});

test("a role's executable has its own words and refuses another's with 2", async () => {
  const home = sharedHome();
  assert.equal((await home.start("client", ["client", "gen"])).code, 0);
  assert.equal((await home.start("client", ["gen"])).code, 0);
  const refused = await home.start("client", ["server", "--check"]);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /postern-server/);
  const failed = await home.start("server", ["--config", `${home.path}/none.toml`]);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /^error: .*none\.toml/m);
  const comma = await home.start("server", ["--config", `${home.path}/a,${home.path}/b`]);
  assert.equal(comma.code, 1);
  assert.match(comma.stderr, /it has a comma$/m);
  const word = await home.start("client", ["--unpack", "more"]);
  assert.equal(word.code, 2);
});

test("the flags that a command line would get can be asked for, whatever configuration it names", async () => {
  const home = sharedHome();
  await Deno.mkdir(`${home.path}/asked`);
  const { configPath } = await writeLabFiles(`${home.path}/asked`, { commands: () => "[commands]\n" });
  for (const words of [["--config", configPath], [`-c${configPath}`], [`--config=${configPath}`]]) {
    const { code, stdout, stderr } = await home.start("server", ["permissions", "--flags", "--", ...words]);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
    assert.match(stdout, /^--allow-net=/);
  }
});

/** The running process has the flags that its executable prints for its words, and no other. */
async function assertConfined(machine: BareMachine, name: string, pid: number): Promise<void> {
  const [program = "", ...words] = (await Deno.readTextFile(`/proc/${pid}/cmdline`)).split("\0").slice(0, -1);
  assert.match(program, /^\/var\/cache\/postern\/[0-9a-f]{64}\/deno$/);
  const bundleAt = words.findIndex((word) => word.endsWith("/postern.mjs"));
  const own = words.slice(bundleAt + 2);
  assert.equal(words[bundleAt + 1], `/usr/local/bin/${name}`);
  const environment = (await Deno.readTextFile(`/proc/${pid}/environ`)).split("\0");
  assert(environment.includes("DENO_DIR=/dev/null/none"), "a role that faces others remembers nothing");
  assert(environment.includes("PATH=/usr/local/bin:/usr/bin:/bin"), "the caller's own");
  const printed = await machine.run(name, ["permissions", "--flags", "--", ...own]);
  assert.equal(printed.code, 0, printed.stderr);
  const always = [
    "run",
    "--no-prompt",
    "--no-config",
    "--no-remote",
    "--no-npm",
    "--deny-import",
    "--unstable-net",
  ];
  assert.deepEqual(words.slice(0, bundleAt), [...always, ...printed.stdout.trimEnd().split("\n")]);
}

test("the server as built needs each of its flags, and names the one it misses", async () => {
  const home = sharedHome();
  assertVersion(await home.start("server", ["--version"]));
  const bundles = (await home.cache.names()).map((name) => `${home.cache.folder}/${name}/postern.mjs`);
  const codes = await Promise.all(bundles.map((path) => Deno.readTextFile(path).catch(() => "")));
  const bundle = bundles[codes.indexOf(await bundleIn(built("server"), "server"))] ?? "";
  const runtime = (await Promise.all(
    bundles.map((path) => path.replace("postern.mjs", "deno")).map((path) =>
      Deno.realPath(path).catch(() => "")
    ),
  )).find((path) => path !== "") ?? "";
  const folder = `${home.path}/served`;
  await Deno.mkdir(folder);
  const { configPath } = await writeLabFiles(folder, { commands: () => "[commands]\ndefault = 'true'\n" });
  const words = ["--config", configPath];
  const startable = (...rest: string[]): Startable => ({
    command: (flags) => ({
      program: runtime,
      args: [
        "run",
        "--no-prompt",
        "--no-config",
        "--unstable-net",
        ...flags,
        bundle,
        built("server"),
        ...rest,
      ],
    }),
  });
  const printed = await runToEnd(startable("permissions", "--flags", "--", ...words), [
    `--allow-read=${configPath}`,
  ]);
  assert.equal(printed.code, 0, printed.stderr);
  const flags = printed.stdout.trimEnd().split("\n");
  const tried = await eachFlagIsNeeded(startable(...words), flags);
  assert(tried.length > flags.length);
});

/** An executable that serves on until it is disposed of. */
class Service implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #said = "";

  constructor(role: Role, words: readonly string[], home: Home) {
    this.#child = new Deno.Command(built(role), {
      args: [...words],
      clearEnv: true,
      env: { HOME: home.path, POSTERN_CACHE_DIR: home.cache.folder, PATH: "/usr/bin:/bin" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reading = Promise.all([this.#read(this.#child.stdout), this.#read(this.#child.stderr)]).then(
      () => {},
    );
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.#said += decoder.decode(chunk, { stream: true });
  }

  /** What the pattern's first group found in what it said. */
  async says(pattern: RegExp): Promise<string> {
    try {
      return await until(`it says ${pattern}`, () => pattern.exec(this.#said)?.[1], { timeoutMs: 30_000 });
    } catch (error) {
      throw new Error(`it said:\n${this.#said}`, { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#reading;
  }
}

test("a management server, an agent and an administrator run from their executables, with exactly their flags", async () => {
  const home = sharedHome();
  const [serverDir, agentDir, adminDir] = ["manage server", "agent", "admin"].map((name) =>
    `${home.path}/${name}`
  );
  assert(serverDir !== undefined && agentDir !== undefined && adminDir !== undefined);
  const done = async (role: Role, words: string[], stdin?: string, code = 0): Promise<string> => {
    const ended = await home.start(role, words, stdin === undefined ? {} : { stdin });
    assert.equal(ended.code, code, ended.stderr);
    return ended.stdout;
  };
  await using cable = new Cable(0);
  const at = ["--dir", serverDir];
  await done("server", ["manage", "init", "--address", `127.0.0.1:${cable.port}`, ...at]);
  await using server = new Service("server", [
    ...["manage", ...at, "--bind", "127.0.0.1:0", "--strict-permissions"],
  ], home);
  cable.leadTo(Number(await server.says(/management server ready.* address=127\.0\.0\.1:([0-9]+)/)));
  const hostToken = await done("server", ["manage", "invite", "host", "web1", ...at]);
  const adminToken = await done("server", ["manage", "invite", "admin", "alice", ...at]);
  await done("commander", ["agent", "--join", "-", "--dir", agentDir], hostToken);
  await done("client", ["join", adminToken.trim(), "--dir", adminDir]);
  await using agent = new Service("commander", ["agent", "--dir", agentDir, "--strict-permissions"], home);
  await agent.says(/(linked to the server)/);
  const dir = ["--dir", adminDir];
  assert.match(await done("client", ["hosts", ...dir]), /web1/);
  assert.equal(await done("client", ["exec", "web1", ...dir, "--", "echo", "--dir", "/"]), "--dir /\n");
  assert.match(await done("client", ["shell", "web1", ...dir], "echo got-$((6 * 7)); exit 5\n", 5), /got-42/);
  await using forward = new Service("client", [
    ...["forward", "web1", `0:127.0.0.1:${cable.port}`, ...dir],
  ], home);
  const port = Number(await forward.says(/127\.0\.0\.1:([0-9]+)/));
  // What listens there is the server, behind the cable: it ends a caller that says something else than TLS.
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode("no TLS at all\r\n\r\n"));
  await until("the far end has answered or hung up", async () => {
    const answer = await connection.read(new Uint8Array(64));
    return answer === null || answer > 0;
  });
  assert.match(await done("server", ["manage", "audit", ...at]), /session_ended.*web1/);
  // Where the folder is found by the environment, and where no server is known in it.
  const elsewhere = await home.start("client", ["exec", "web1", "--", "true"]);
  assert.deepEqual({ code: elsewhere.code, stdout: elsewhere.stdout }, { code: 255, stdout: "" });
  assert.match(
    elsewhere.stderr,
    /no management server is known: .*\/\.config\/postern\/manage\/server\.json/,
  );
  await Deno.mkdir(`${home.path}/.config/postern`, { recursive: true });
  await Deno.rename(adminDir, `${home.path}/.config/postern/manage`);
  assert.equal(await done("client", ["exec", "web1", "--", "echo", "found"]), "found\n");
  // Asked, each tells the flags that it gave itself.
  const asked = await done("commander", ["permissions", "--flags", "--", "agent", "--dir", agentDir]);
  assert.match(asked, new RegExp(`^--allow-net=127\\.0\\.0\\.1:${cable.port},localhost`, "m"));
  assert.match(asked, /^--allow-run=\/bin\/sh$/m);
});

test("alone on a machine without Deno and npm, a knock runs a command there", async () => {
  await using machine = await BareMachine.make(files?.paths ?? []);
  const { commander, server } = await machine.startServices({ uid: STRANGER, unpack: true });
  await assertConfined(machine, "postern-server", server.pid);
  await assertConfined(machine, "postern-commander", commander.pid);
  await machine.knock({ uid: STRANGER + 1 });
  await until(
    "the command has run",
    () => Deno.readTextFile(machine.outside("/knocked")).then((text) => text !== "", () => false),
  );
  assert.equal(await Deno.readTextFile(machine.outside("/knocked")), "127.0.0.1\n");
  for (const process of [server, commander]) assert.equal((await process.stop("SIGTERM")).code, 0);
}, rootObstacle ?? await bareMachineObstacle());
