/** A config folder that the system denies, asked for by a process that is not root. */
import assert from "node:assert/strict";
import { CopyForEverybody } from "../../everybody.ts";
import { TempFolder } from "./temp_folder.ts";

/** Root may use everything, so the probe runs as somebody else; anybody else is denied what has no mode bits. */
const isRoot = Deno.uid() === 0;
const NOBODY = { uid: 65_534, gid: 65_534 };
const reason = Deno.build.os === "windows" ? "files have no owners like these here" : null;

let copy: CopyForEverybody | undefined;
Deno.test.beforeAll(() => {
  if (reason === null) copy = CopyForEverybody.make();
});
Deno.test.afterAll(() => copy?.[Symbol.dispose]());

async function probe(method: string, folder: string): Promise<{ message: string; hint: string }> {
  assert.ok(copy !== undefined);
  const { code, stdout, stderr } = await new Deno.Command(copy.denoPath, {
    args: ["run", "-A", `${copy.repositoryFolder}tests/client/knock/counter_probe.ts`, method, folder],
    cwd: "/",
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "", DENO_DIR: copy.cacheFolder },
    ...(isRoot ? NOBODY : {}),
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

interface Denied {
  readonly what: string;
  readonly method: string;
  readonly message: RegExp;
  readonly hint: RegExp;
  /** Makes what is denied below `folder`, the config folder is `folder/conf`. */
  readonly make: (folder: string) => void;
}

const owner = isRoot ? "root" : `user id ${Deno.uid()}`;
const CHOWN = /; to make all of it yours: sudo chown -R "\$\(id -un\)" \S+\/conf$/;

const CASES: readonly Denied[] = [
  {
    what: "next() of a lock that is another user's",
    method: "next",
    message: /^could not open the lock file \S+\/conf\/client\.lock: /,
    hint: new RegExp(`/conf/client\\.lock belongs to ${owner} \\(mode 0000\\)`),
    make(folder): void {
      Deno.mkdirSync(`${folder}/conf`);
      Deno.chmodSync(`${folder}/conf`, 0o755);
      Deno.writeTextFileSync(`${folder}/conf/client.lock`, "");
      Deno.chmodSync(`${folder}/conf/client.lock`, 0);
    },
  },
  {
    what: "next() of a folder that is another user's",
    method: "next",
    message: /^could not open the lock file \S+\/conf\/client\.lock: /,
    hint: new RegExp(`/conf belongs to ${owner} \\(mode 0000\\)`),
    make(folder): void {
      Deno.mkdirSync(`${folder}/conf`);
      Deno.chmodSync(`${folder}/conf`, 0);
    },
  },
  {
    what: "reseed() of a folder that takes no new file",
    method: "reseed",
    message: /^could not write \S+\/conf\/counter: /,
    hint: new RegExp(`/conf belongs to ${owner} \\(mode 0555\\)`),
    make(folder): void {
      Deno.mkdirSync(`${folder}/conf`);
      Deno.writeTextFileSync(`${folder}/conf/client.lock`, "");
      Deno.chmodSync(`${folder}/conf/client.lock`, 0o666);
      Deno.chmodSync(`${folder}/conf`, 0o555);
    },
  },
  {
    what: "peek() of a counter that is another user's",
    method: "peek",
    message: /^cannot read counter file \S+\/conf\/counter: /,
    hint: new RegExp(`/conf/counter belongs to ${owner} \\(mode 0000\\)`),
    make(folder): void {
      Deno.mkdirSync(`${folder}/conf`);
      Deno.writeFileSync(`${folder}/conf/counter`, new Uint8Array(16));
      Deno.chmodSync(`${folder}/conf`, 0o755);
      Deno.chmodSync(`${folder}/conf/counter`, 0);
    },
  },
  {
    what: "next() of a counter that may not be read, instead of starting it over,",
    method: "next",
    message: /^cannot read counter file \S+\/conf\/counter: /,
    hint: new RegExp(`/conf/counter belongs to ${owner} \\(mode 0000\\)`),
    make(folder): void {
      Deno.mkdirSync(`${folder}/conf`);
      Deno.writeTextFileSync(`${folder}/conf/client.lock`, "");
      Deno.chmodSync(`${folder}/conf/client.lock`, 0o666);
      Deno.writeFileSync(`${folder}/conf/counter`, new Uint8Array(16));
      Deno.chmodSync(`${folder}/conf/counter`, 0);
      Deno.chmodSync(`${folder}/conf`, 0o777);
    },
  },
];
for (const { what, method, message, hint, make } of CASES) {
  Deno.test({
    name: `CounterFile.${what} says whose it is` + (reason === null ? "" : ` (ignored: ${reason})`),
    ignore: reason !== null,
    async fn(): Promise<void> {
      using folder = new TempFolder();
      Deno.chmodSync(folder.path, 0o755);
      make(folder.path);
      const before = entries(`${folder.path}/conf`);
      try {
        const told = await probe(method, `${folder.path}/conf`);
        assert.match(told.message, message);
        assert.match(told.hint, hint);
        assert.match(told.hint, CHOWN);
        assert.deepEqual(entries(`${folder.path}/conf`), before, "nothing was replaced or left behind");
      } finally {
        Deno.chmodSync(`${folder.path}/conf`, 0o700);
      }
    },
  });
}

Deno.test({
  name: "CounterFile.next() where no folder can be made says how to get one" +
    (reason === null ? "" : ` (ignored: ${reason})`),
  ignore: reason !== null,
  async fn(): Promise<void> {
    using folder = new TempFolder();
    Deno.chmodSync(folder.path, 0o555);
    try {
      const told = await probe("next", `${folder.path}/deep/conf`);
      assert.match(told.message, /^cannot use config folder \S+\/deep\/conf: /);
      const expected = `${folder.path} belongs to ${owner} (mode 0555); to get the folder: ` +
        `sudo install -d -m 700 -o "$(id -un)" ${folder.path}/deep/conf; or name another one in POSTERN_CONF_DIR`;
      assert.equal(told.hint, expected);
    } finally {
      Deno.chmodSync(folder.path, 0o700);
    }
  },
});

/** Names and inodes of what lies in a folder; empty if we may not look. */
function entries(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) =>
      `${name} ${Deno.lstatSync(`${folder}/${name}`).ino}`
    )
      .sort();
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return [];
    throw error;
  }
}
