/**
 * The Dockerfile, built by a real builder (buildah, without a daemon), on a base that is made of this machine's own
 * Debian programs: there is no registry to get one from.
 */
import assert from "node:assert/strict";
import header from "../../src/setup/self_extracting_header.sh" with { type: "text" };
import { missingForRoot, runProgram, scratchFolder } from "./programs.ts";

const dockerfile = new URL("../../deploy/Dockerfile", import.meta.url).pathname;
const ROLES = ["server", "commander"] as const;
type Role = typeof ROLES[number];

/** What the Dockerfile and the stand-in of an executable call. */
const BASE_PROGRAMS = [
  "sh",
  "cat",
  "chmod",
  "groupadd",
  "head",
  "id",
  "install",
  "ls",
  "mkdir",
  "rm",
  "stat",
  "touch",
  "useradd",
];
const POSTERN_UID = "834";

/**
 * Stands in for a self-extracting executable, whose build takes minutes and has tests of its own. Its runtime gives flags
 * when it is asked for them, and shows its words when it is started with them.
 */
const EXECUTABLE = `#!/bin/sh
[ "$1" = --unpack ] || exit 1
mkdir -p /var/cache/postern/aa /var/cache/postern/bb
touch /var/cache/postern/bb/postern.mjs
cat >/var/cache/postern/aa/deno <<'END'
#!/bin/sh
for word; do
  if [ "$word" = --flags ]; then
    printf '%s\\n' '--allow-net=[::]:34020' '--allow-read=/a b,/c*'
    exit
  fi
done
printf '%s\\n' "$@"
END
`;

class Builder implements AsyncDisposable {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Runs buildah with a store of its own; what it prints. */
  async run(...words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await runProgram("buildah", [
      "--root",
      `${this.#folder}/store`,
      "--runroot",
      `${this.#folder}/run`,
      "--storage-driver",
      "vfs",
      ...words,
    ]);
    assert.equal(code, 0, `buildah ${words.join(" ")}: ${stdout}${stderr}`);
    return stdout.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run("rm", "--all");
    await this.run("rmi", "--all", "--force");
  }
}

/** The smallest Debian in which the Dockerfile's programs run: they, their libraries, the account files. */
async function makeBase(builder: Builder, folder: string): Promise<void> {
  const { stdout, stderr, code } = await runProgram("sh", [
    "-euc",
    COPY_PROGRAMS,
    "sh",
    folder,
    ...BASE_PROGRAMS,
  ]);
  assert.equal(code, 0, stdout + stderr);
  const container = await builder.run("from", "scratch");
  await builder.run("add", "-q", container, folder, "/");
  await builder.run("commit", "-q", container, "localhost/base");
}

// `$1` root folder, then names of programs.
const COPY_PROGRAMS = `
root=$1; shift
mkdir -p "$root/etc" "$root/usr" "$root/var/lib" "$root/var/cache" "$root/run" "$root/tmp"
for name in bin sbin lib lib64; do
  mkdir -p "$root/usr/$name"
  ln -s "usr/$name" "$root/$name"
done
printf 'root:x:0:0:root:/root:/bin/sh\\n' >"$root/etc/passwd"
printf 'root:x:0:\\n' >"$root/etc/group"
touch "$root/etc/shadow" "$root/etc/gshadow" "$root/etc/login.defs"
for name; do
  path=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v -- "$name")
  for file in "$path" $(ldd "$path" | grep -o '/[^ ]*'); do
    mkdir -p "$root/$(dirname "$file")"
    [ -e "$root/$file" ] || cp -L "$file" "$root/$file"
  done
done
`;

/** Builds the image of a role, and gives a container of it. */
async function build(builder: Builder, role: Role, context: string): Promise<string> {
  await builder.run(
    "bud",
    "--isolation",
    "chroot",
    "--pull-never",
    "--build-arg",
    "BASE=localhost/base",
    "--build-arg",
    `ROLE=${role}`,
    "-f",
    dockerfile,
    "-t",
    `postern-${role}`,
    context,
  );
  return await builder.run("from", "--pull-never", `postern-${role}`);
}

interface ImageConfig {
  readonly User?: string;
  readonly ExposedPorts?: Record<string, unknown>;
  readonly Entrypoint: string[];
  readonly Volumes: Record<string, unknown>;
}

Deno.test("what the Dockerfile puts in place of the executable starts the runtime as that one does", async () => {
  const lines = (text: string): string[] =>
    [/^export (DENO_DIR.*)$/m, /exec \S+ (run .*) "\$@"/].map((pattern) => pattern.exec(text)?.[1] ?? "");
  const [variables = "", start = ""] = lines(header);
  assert.notEqual(start, "");
  const text = (await Deno.readTextFile(dockerfile)).replace(/^ +'(.*)' \\$/gm, "$1");
  assert.deepEqual(lines(text), [variables.replace("DENO_DIR", "DENO_DIR=/dev/null/none"), start]);
});

const noBuilder = missingForRoot("buildah", ...BASE_PROGRAMS);

Deno.test({
  name: `the Dockerfile makes a server that is not root and a commander, of root-owned files${noBuilder}`,
  ignore: noBuilder !== "",
  timeout: 120_000,
  async fn(): Promise<void> {
    await using folder = await scratchFolder();
    const context = `${folder.path}/dist`;
    await Deno.mkdir(context);
    for (const role of ROLES) {
      await Deno.writeTextFile(`${context}/postern-${role}-x86_64-unknown-linux-gnu`, EXECUTABLE);
    }
    await using builder = new Builder(folder.path);
    await makeBase(builder, `${folder.path}/base`);
    for (const role of ROLES) {
      const container = await build(builder, role, context);
      const image = JSON.parse(await builder.run("inspect", "--type", "image", `postern-${role}`));
      const config: ImageConfig = image.OCIv1.config;
      assert.deepEqual(config.Entrypoint, [
        `/usr/local/bin/postern-${role}`,
        "--config",
        "/etc/postern/config.toml",
        "--strict-permissions",
      ]);
      const state = role === "server" ? "/var/lib/postern" : "/var/lib/postern-commander";
      assert.deepEqual(Object.keys(config.Volumes), [state]);
      assert.equal(config.User, role === "server" ? "postern" : "root");
      assert.deepEqual(Object.keys(config.ExposedPorts ?? {}), role === "server" ? ["34020/udp"] : []);

      const inside = async (script: string): Promise<string[]> =>
        (await builder.run("run", "--isolation", "chroot", container, "--", "sh", "-c", script)).split("\n");
      assert.deepEqual(
        await inside("id -u; id -g"),
        role === "server" ? [POSTERN_UID, POSTERN_UID] : ["0", "0"],
      );
      assert.deepEqual(
        await inside(
          "stat -c '%n %u %g %a' /etc/postern /run/postern /var/lib/postern /var/lib/postern-commander",
        ),
        [
          "/etc/postern 0 0 755",
          "/run/postern 0 0 755",
          `/var/lib/postern ${POSTERN_UID} ${POSTERN_UID} 700`,
          "/var/lib/postern-commander 0 0 700",
        ],
      );
      // All that runs is root's, part of the image, and nothing else is there.
      assert.deepEqual(
        await inside(
          "ls -d /usr/local/bin/* /var/cache/*; cd /usr/local; stat -c '%n %u %a' bin/* lib/postern/*",
        ),
        [
          `/usr/local/bin/postern-${role}`,
          `bin/postern-${role} 0 755`,
          "lib/postern/deno 0 755",
          "lib/postern/postern.mjs 0 644",
        ],
      );
      const code = ["/usr/local/lib/postern/postern.mjs", `/usr/local/bin/postern-${role}`];
      assert.deepEqual(await inside(`${config.Entrypoint.join(" ")} --check 'a  b'`), [
        "run",
        "--no-prompt",
        "--no-config",
        "--no-remote",
        "--no-npm",
        "--deny-import",
        "--unstable-net",
        "--allow-net=[::]:34020",
        "--allow-read=/a b,/c*",
        ...code,
        ...config.Entrypoint.slice(1),
        "--check",
        "a  b",
      ]);
    }
  },
});
