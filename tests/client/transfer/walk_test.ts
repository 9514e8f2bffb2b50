import assert from "node:assert/strict";
import fc from "fast-check";
import { type Walk, walkPaths } from "../../../src/client/transfer/walk.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { NameCollisions } from "../../../src/protocol/transfer/name_collisions.ts";
import { targetPath } from "../../../src/protocol/transfer/target_path.ts";
import { Failure } from "../../../src/system/failure.ts";
import { succeeds, unless } from "../../e2e/machine.ts";
import { CopyForEverybody } from "../../everybody.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { holds } from "../../property.ts";

/** Makes files with their content, folders where the path ends with a slash, and links to what follows an arrow. */
async function make(folder: string, things: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(things)) {
    const place = `${folder}/${path}`;
    await Deno.mkdir(place.slice(0, place.lastIndexOf("/")), { recursive: true });
    if (path.endsWith("/")) continue;
    if (content.startsWith("-> ")) await Deno.symlink(content.slice(3), place);
    else await Deno.writeTextFile(place, content);
  }
}

function paths(walk: Walk): string[] {
  return walk.files.entries.map(({ kind, path }) => kind === "folder" ? `${path}/` : path);
}

async function refusalOf(walking: Promise<Walk>): Promise<Failure> {
  try {
    await walking;
  } catch (error) {
    assert.ok(error instanceof Failure, String(error));
    return error;
  }
  throw new Error("nothing was refused");
}

Deno.test("walkPaths() lists a file by its own name, with size, time and mode", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, { "deep/er/file.txt": "12345" });
  const path = `${folder.path}/deep/er/file.txt`;
  await Deno.chmod(path, 0o4640);
  await Deno.utime(path, 1000, 1_234_567.5);
  const { files, notices } = await walkPaths([path]);
  const entry = { kind: "file", path: "file.txt", sizeBytes: 5, modifiedMs: 1_234_567_500, mode: 0o640 };
  assert.deepEqual(files.entries, [entry]);
  assert.equal(files.totalBytes, 5);
  assert.deepEqual(files.place(0), { path, followsLink: false });
  assert.deepEqual(notices, []);
});

Deno.test("walkPaths() lists a folder before what is in it, in the order of the names, empty ones too", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, {
    "top/b.txt": "b",
    "top/a/2": "22",
    "top/a/10": "1010",
    "top/a/sub/": "",
    "top/Z": "",
    "top/é": "",
    "top/empty/": "",
  });
  const walk = await walkPaths([`${folder.path}/top`]);
  assert.deepEqual(paths(walk), [
    ...["top/", "top/Z", "top/a/", "top/a/10", "top/a/2", "top/a/sub/", "top/b.txt", "top/empty/", "top/é"],
  ]);
  assert.equal(walk.files.totalBytes, 7);
  for (const [file, { path }] of walk.files.entries.entries()) {
    assert.deepEqual(walk.files.place(file), { path: `${folder.path}/${path}`, followsLink: false });
  }
  const again = await walkPaths([`${folder.path}/top`]);
  assert.deepEqual(again.files.entries, walk.files.entries);
  assert.deepEqual(await again.files.fingerprint(), await walk.files.fingerprint());
});

Deno.test("walkPaths() lists several paths in the order in which they were typed", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, { "z/1": "1", "a/x/2": "2", "3": "3" });
  const walk = await walkPaths([`${folder.path}/z/`, `${folder.path}/3`, `${folder.path}/a/x`]);
  assert.deepEqual(paths(walk), ["z/", "z/1", "3", "x/", "x/2"]);
  assert.deepEqual([0, 1, 2, 3, 4].map((file) => walk.files.place(file).path), [
    ...["z", "z/1", "3", "a/x", "a/x/2"].map((each) => `${folder.path}/${each}`),
  ]);
});

Deno.test("walkPaths() gives dots and slashes the real name of their folder", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, { "here/below/file": "1", "here/other": "" });
  const before = Deno.cwd();
  Deno.chdir(`${folder.path}/here/below`);
  try {
    assert.deepEqual(paths(await walkPaths(["."])), ["below/", "below/file"]);
    assert.deepEqual(paths(await walkPaths(["./"])), ["below/", "below/file"]);
    assert.deepEqual(paths(await walkPaths(["file"])), ["file"]);
    assert.deepEqual(paths(await walkPaths(["../other"])), ["other"]);
    assert.deepEqual(paths(await walkPaths([".."])), [
      "here/",
      "here/below/",
      "here/below/file",
      "here/other",
    ]);
    assert.deepEqual(paths(await walkPaths(["../below//file"])), ["file"]);
  } finally {
    Deno.chdir(before);
  }
});

Deno.test("walkPaths() refuses what has no name, is empty, or is not there", async () => {
  await using folder = await TempFolder.make("walk");
  const refusals: readonly (readonly [string, RegExp])[] = [
    ["/", /"\/": the root has no name/],
    ["/..", /the root has no name/],
    ["", /it is empty/],
    [`${folder.path}/missing`, /missing": there is nothing of that name/],
    [`${folder.path}/\ufffd`, /its name is not UTF-8/],
    [`${folder.path}/${"x".repeat(300)}`, /name too long/i],
    ["\0", /./],
  ];
  for (const [path, text] of refusals) {
    assert.match((await refusalOf(walkPaths([path]))).message, text);
  }
});

Deno.test("walkPaths() refuses two paths with one name, by both as they were typed", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, { "a/same": "1", "b/same": "2", "c/SAME": "3" });
  const [a, b, c] = ["a/same", "b/same", "c/SAME"].map((each) => `${folder.path}/${each}`) as [
    string,
    string,
    string,
  ];
  const { message, hint } = await refusalOf(walkPaths([a, b]));
  assert.ok(message.includes(a) && message.includes(b), message);
  assert.ok(hint?.includes("one after the other"));
  await refusalOf(walkPaths([a, a]));
  assert.match((await refusalOf(walkPaths([a, c]))).message, /"SAME" \(the same name as "same"/);
});

Deno.test("walkPaths() follows a link that is named, and none inside", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, {
    "real/file": "12",
    "real/inside": "-> file",
    "real/loop": "-> .",
    "real/dangling": "-> nowhere",
    "to-folder": "-> real",
    "to-file": "-> real/file",
    "to-nothing": "-> nowhere",
  });
  const walk = await walkPaths([`${folder.path}/to-folder`, `${folder.path}/to-file`]);
  assert.deepEqual(paths(walk), ["to-folder/", "to-folder/file", "to-file"]);
  assert.deepEqual([0, 1, 2].map((file) => walk.files.place(file).followsLink), [true, false, true]);
  assert.deepEqual(walk.notices, [
    'left out 3 symbolic links: "to-folder/dangling", "to-folder/inside", "to-folder/loop"',
  ]);
  await refusalOf(walkPaths([`${folder.path}/to-nothing`]));
});

Deno.test("walkPaths() leaves pipes and sockets in folders out with a notice, and refuses them by name", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, { "in/file": "1" });
  assert.ok(await succeeds("mkfifo", [`${folder.path}/in/pipe`]));
  using _listener = Deno.listen({ transport: "unix", path: `${folder.path}/in/socket` });
  const walk = await walkPaths([`${folder.path}/in`]);
  assert.deepEqual(paths(walk), ["in/", "in/file"]);
  assert.deepEqual(walk.notices, ['left out 2 pipes, sockets and devices: "in/pipe", "in/socket"']);
  for (const path of [`${folder.path}/in/pipe`, `${folder.path}/in/socket`, "/dev/null"]) {
    const { message, hint } = await refusalOf(walkPaths([path]));
    assert.match(message, /it is a pipe, socket or device; accepted are files and folders/);
    assert.match(hint ?? "", /postern client share -/);
  }
});

Deno.test("walkPaths() names at most ten of a kind", async () => {
  await using folder = await TempFolder.make("walk");
  for (let number = 10; number < 35; number++) await Deno.symlink("x", `${folder.path}/l${number}`);
  const { notices } = await walkPaths([folder.path]);
  assert.match(notices[0] ?? "", /^left out 25 symbolic links: .*\/l19" and 15 more$/);
});

Deno.test("walkPaths() refuses every name that the other side would refuse, all at once", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, { "in/good": "1" });
  const bad = [
    "new\nline",
    "back\\slash",
    "co:lon",
    "CON",
    "nul.txt",
    "bidi\u202e",
    " ",
    "tab\t",
    "...",
    ".postern-x",
  ];
  for (const name of bad) await Deno.writeTextFile(`${folder.path}/in/${name}`, "");
  const { message, hint } = await refusalOf(walkPaths([`${folder.path}/in`]));
  assert.match(message, /"in\/new\\nline" \(a control character\)/);
  assert.match(message, /"in\/bidi\\u202e" \(an invisible character\)/);
  for (const word of ["backslash", "colon", "device", ".postern-x"]) {
    assert.ok(message.includes(word), message);
  }
  assert.doesNotMatch(message, /[\n\t\u202e]/);
  assert.match(hint ?? "", /tar -cf - PATH \| postern client share -/);
  assert.match((await refusalOf(walkPaths([`${folder.path}/in/CON`]))).message, /"CON"/);
});

Deno.test("walkPaths() refuses names that are one name on some file systems", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, {
    "in/readme": "1",
    "in/README": "2",
    "in/sub/readme": "3",
    "in/caf\u00e9": "",
    "in/cafe\u0301": "",
  });
  const { message } = await refusalOf(walkPaths([`${folder.path}/in`]));
  assert.match(message, /"in\/readme" \(the same name as "README" to some file systems\)/);
  assert.match(message, /the same name as "cafe\u0301"/);
  assert.doesNotMatch(message, /sub/);
});

Deno.test("walkPaths() refuses names that are not UTF-8, and takes the substitute itself", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, { "good/\ufffd": "1", "bad/x": "" });
  assert.ok(await succeeds("sh", ["-c", `touch "$(printf '${folder.path}/bad/a\\377b')"`]));
  assert.deepEqual(paths(await walkPaths([`${folder.path}/good`])), ["good/", "good/\ufffd"]);
  const { message } = await refusalOf(walkPaths([`${folder.path}/bad`]));
  assert.match(message, /"bad\/a\ufffdb" \(a name that is not UTF-8\)/);
});

Deno.test("walkPaths() refuses paths that are too deep or too long", async () => {
  await using folder = await TempFolder.make("walk");
  await Deno.mkdir(`${folder.path}/deep/${"d/".repeat(99)}`, { recursive: true });
  assert.equal((await walkPaths([`${folder.path}/deep`])).files.entries.length, 100);
  await Deno.mkdir(`${folder.path}/deep/${"d/".repeat(100)}`, { recursive: true });
  assert.match((await refusalOf(walkPaths([`${folder.path}/deep`]))).message, /more than 100 folders deep/);
});

Deno.test("walkPaths() accepts a name exactly when the receiver's guard does", async () => {
  await using folder = await TempFolder.make("walk");
  const odd = fc.constantFrom(..."aA.~ :\\\t\u202eé\u0301-Oo𝒳😀\u200d$*?\"'<>|\ud7ff\uffff\uf05cıİſ");
  const name = fc.array(odd, { minLength: 1, maxLength: 4 }).map((each) => each.join(""))
    .filter((each) => each !== "." && each !== "..");
  const cases = fc.sample(fc.uniqueArray(name, { minLength: 1, maxLength: 3 }), 150);
  for (const [at, names] of cases.entries()) {
    const root = `${folder.path}/${at}`;
    await make(root, Object.fromEntries(names.map((each) => [each, "x"])));
    const isRefused = await walkPaths([root]).then(() => false, (error) => error instanceof Failure);
    assert.equal(isRefused, isRefusedThere(names.map((each) => `${at}/${each}`)), JSON.stringify(names));
  }
});

function isRefusedThere(all: readonly string[]): boolean {
  const collisions = new NameCollisions();
  try {
    for (const path of all) collisions.add(targetPath(path), "file");
    return false;
  } catch (error) {
    assert.ok(error instanceof TransferError);
    return true;
  }
}

Deno.test("walkPaths() leaves out working folders of receivers and the state folder, wherever they are", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, {
    "home/.postern-0123456789abcdef/data-0": "secret",
    "home/state/transfers/share.json": "secret",
    "home/file": "1",
  });
  const state = `${folder.path}/home/state/transfers`;
  const walk = await walkPaths([`${folder.path}/home`], { leaveOut: [state, "/not/there"] });
  assert.deepEqual(paths(walk), ["home/", "home/file", "home/state/"]);
  assert.deepEqual(walk.notices, [
    'left out 2 folders that postern itself works in: "home/.postern-0123456789abcdef", "home/state/transfers"',
  ]);
  assert.match((await refusalOf(walkPaths([state], { leaveOut: [state] }))).message, /postern works in it/);
  await Deno.symlink(state, `${folder.path}/link`);
  await refusalOf(walkPaths([`${folder.path}/link`], { leaveOut: [state] }));
});

Deno.test({
  name: "walkPaths() says which permission is missing",
  permissions: { read: ["/invented"] },
  fn: async () => {
    const { message, hint } = await refusalOf(walkPaths(["/etc/hostname"]));
    assert.match(message, /this program may not read it/);
    assert.equal(hint, "add --allow-read=/etc/hostname to deno run");
  },
});

const SYSTEM_FILE = "/proc/cpuinfo";
const noSystemFile = await Deno.stat(SYSTEM_FILE).then(() => null, () => `there is no ${SYSTEM_FILE}`);

Deno.test({
  ...unless(noSystemFile, "walkPaths() refuses a file that says it is empty and is not, as those of /proc"),
  fn: async () => {
    await using folder = await TempFolder.make("walk");
    await make(folder.path, { "empty": "", "in/empty": "" });
    assert.equal((await walkPaths([`${folder.path}/empty`, `${folder.path}/in`])).files.entries.length, 3);
    const { message } = await refusalOf(walkPaths([SYSTEM_FILE]));
    assert.match(message, /"cpuinfo" \(it has no size, and something in it: only a pipe can tell how much\)/);
  },
});

Deno.test({
  ...unless(noSystemFile, "walkPaths() says what helps where no flag for a path does"),
  permissions: { read: true },
  fn: async () => {
    const { message, hint } = await refusalOf(walkPaths([SYSTEM_FILE]));
    assert.match(message, /no permission of the sandbox/);
    assert.match(hint ?? "", /pipe it: cat PATH/);
  },
});

const NOBODY = 65_534;
const notRoot = Deno.uid() === 0 ? null : "needs root, to become somebody who may not read";

Deno.test({
  ...unless(
    notRoot,
    "walkPaths() refuses files and folders that this user may not read, before anything starts",
  ),
  fn: async () => {
    await using folder = await TempFolder.make("walk");
    await Deno.chmod(folder.path, 0o755);
    await make(folder.path, { "in/a/secret": "1", "in/closed/x": "2", "in/open": "3" });
    await Deno.chmod(`${folder.path}/in/a/secret`, 0o600);
    await Deno.chmod(`${folder.path}/in/closed`, 0o700);
    const walkUrl = new URL("../../../src/client/transfer/walk.ts", import.meta.url);
    const program = `import { walkPaths } from ${JSON.stringify(walkUrl.href)};
      await walkPaths([${
      JSON.stringify(`${folder.path}/in`)
    }]).catch((error) => console.log(error.message));`;
    const output = `${folder.path}/walk.js`;
    await Deno.writeTextFile(`${folder.path}/entry.ts`, program);
    assert.ok(
      await succeeds(Deno.execPath(), ["bundle", "--quiet", "-o", output, `${folder.path}/entry.ts`]),
    );
    await Deno.chmod(output, 0o644);
    using everybody = CopyForEverybody.make();
    const { stdout, stderr } = await new Deno.Command(everybody.denoPath, {
      args: ["run", "--no-prompt", "--no-config", "--allow-read", output],
      env: { DENO_DIR: "/dev/null/none", DENO_NO_UPDATE_CHECK: "1" },
      cwd: "/",
      uid: NOBODY,
      gid: NOBODY,
    }).output();
    assert.equal(
      new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr),
      'cannot read all that is to be shared: found "in/a/secret" (permission denied), "in/closed" (permission denied)\n',
    );
  },
});

Deno.test("walkPaths() lists a hundred thousand files, and says that a receiver must be told", async () => {
  await using folder = await TempFolder.make("walk");
  // Links to one file: the same to a walk, and quick to make and to remove.
  for (let part = 0; part < 100; part++) {
    const inside = `${folder.path}/in/${part}`;
    Deno.mkdirSync(inside, { recursive: true });
    Deno.writeTextFileSync(`${inside}/0`, "x");
    for (let number = 1; number < 1000; number++) Deno.linkSync(`${inside}/0`, `${inside}/${number}`);
  }
  const { files, notices } = await walkPaths([`${folder.path}/in`]);
  assert.equal(files.entries.length, 100_101);
  assert.equal(files.totalBytes, 100_000);
  assert.match(notices[0] ?? "", /--max-files 100101$/);
  assert.equal(files.place(100_100).path, `${folder.path}/in/99/999`);
});

Deno.test("walkPaths() ends at its signal", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, { "in/file": "1" });
  const reason = new Error("invented reason");
  await assert.rejects(
    walkPaths([`${folder.path}/in`], { signal: AbortSignal.abort(reason) }),
    (error) => error === reason,
  );
});

Deno.test("FileList.fingerprint() is another one for any change of what is listed", async () => {
  await using folder = await TempFolder.make("walk");
  await make(folder.path, { "in/a": "1", "in/b": "2" });
  const root = `${folder.path}/in`;
  const fingerprint = async (): Promise<string> =>
    (await (await walkPaths([root])).files.fingerprint()).toHex();
  const seen = new Set([await fingerprint()]);
  const changes: readonly (() => Promise<void>)[] = [
    () => Deno.writeTextFile(`${root}/a`, "11"),
    () => Deno.utime(`${root}/a`, 1, 1),
    () => Deno.chmod(`${root}/b`, 0o600),
    () => Deno.rename(`${root}/b`, `${root}/c`),
    () => Deno.mkdir(`${root}/d`),
    () => Deno.remove(`${root}/a`),
  ];
  for (const change of changes) {
    await change();
    seen.add(await fingerprint());
  }
  assert.equal(seen.size, changes.length + 1);
});

Deno.test("FileList keeps place and identity of every entry of any roots", async () => {
  const { FileList } = await import("../../../src/client/transfer/file_source_list.ts");
  holds(fc.property(fc.array(fc.nat(50), { minLength: 1, maxLength: 20 }), (sizes) => {
    const files = new FileList();
    const expected: string[] = [];
    const inodes: number[] = [];
    for (const [at, size] of sizes.entries()) {
      files.addRoot({ name: `n${at}`, path: `/p/${at}`, isLink: false });
      for (let number = 0; number < size; number++) {
        const below = number === 0 ? "" : `/${number}`;
        const entry = { kind: "file", path: `n${at}${below}`, sizeBytes: 1, modifiedMs: 2, mode: 3 } as const;
        files.add(entry, { sizeBytes: 1, modifiedMs: 2, changedMs: 4, inode: expected.length });
        inodes.push(expected.length);
        expected.push(`/p/${at}${below}`);
      }
    }
    assert.deepEqual(expected.map((_, file) => files.place(file).path), expected);
    assert.deepEqual(expected.map((_, file) => files.identity(file).inode), inodes);
  }));
});
