/**
 * `deno task compile`: what it refuses before it builds anything, and what `deno compile` bakes in. The latter needs no
 * denort: any program will do to write into, if it is not to be started.
 */
import assert from "node:assert/strict";
import { type Role, ROLES } from "../../src/cli/command_spec.ts";
import { rolePermissions } from "../../src/cli/permission_table.ts";
import { permissionSet } from "../../src/system/permissions.ts";
import { unless } from "../e2e/machine.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { until } from "../e2e/until.ts";
import { readBaked } from "./baked.ts";
import { BareMachine, bareMachineObstacle } from "./bare_machine.ts";
import { buildObstacle, compile } from "./built_files.ts";

const ANY_PROGRAM = "/bin/true";
const WINDOWS = "x86_64-pc-windows-msvc";
const MAC = "aarch64-apple-darwin";
const UID = 64_124;
const elf = buildObstacle();

/** A configuration with a layout of its own. */
async function writeConfig(folder: string): Promise<string> {
  const path = `${folder}/config.toml`;
  const lines = [
    'address = "192.0.2.1:4000"',
    'ips = ["192.0.2.1"]',
    `blocklist_dir = "${folder}/floors"`,
    `socket_dir = "${folder}/socket dir"`,
    `commander_state_dir = "${folder}/leases"`,
    `status_file = "${folder}/status/s.json"`,
  ];
  await Deno.writeTextFile(path, lines.join("\n"), { mode: 0o600 });
  return path;
}

/** As the program must have it baked in: each kind's list, [] for the whole kind, null for none. */
async function expectedPermissions(role: Role, configPath?: string): Promise<Record<string, unknown>> {
  const set = permissionSet(await rolePermissions(role, configPath));
  const list = (scopes: readonly string[] | true | undefined): readonly string[] | null =>
    scopes === undefined ? null : scopes === true ? [] : scopes;
  return {
    ...Object.fromEntries(
      (["net", "read", "write", "run", "env", "sys"] as const).map((
        kind,
      ) => [`allow_${kind}`, list(set[kind])]),
    ),
    ...{ allow_ffi: null, deny_read: list(set.denyRead), deny_write: list(set.denyWrite) },
    ...{ deny_net: null, deny_run: null, deny_env: null, deny_sys: null, deny_ffi: null },
    ...{ deny_import: [], prompt: false, ignore_env: null, ignore_read: null },
  };
}

for (const withConfig of [false, true]) {
  Deno.test({
    ...unless(
      elf,
      `deno task compile bakes in exactly each role's permissions for ${
        withConfig ? "the layout of --config" : "the standard layout"
      }`,
    ),
    timeout: 60_000,
    async fn(t): Promise<void> {
      await using folder = await TempFolder.make("baked");
      const config = withConfig ? await writeConfig(folder.path) : undefined;
      const { code, stderr } = await compile([
        ...["--format", "compile", "--quick", "--out", `${folder.path}/out`],
        ...(config === undefined ? [] : ["--config", config]),
      ], { DENORT_BIN: ANY_PROGRAM });
      assert.equal(code, 0, stderr);
      for (const role of ROLES) {
        await t.step(role, async () => {
          const name = `postern-${role}-${Deno.build.target}`;
          const { permissions, argv, unstable_config, app_name } = await readBaked(
            `${folder.path}/out/${name}`,
          );
          // Hosts that the runtime always names; `deny_import` overrules them.
          const { allow_import: _, ...others } = permissions;
          assert.deepEqual(others, await expectedPermissions(role, config));
          assert.deepEqual({ argv, features: unstable_config.features, app_name }, {
            argv: [],
            features: ["net"],
            app_name: name,
          });
        });
      }
    },
  });
}

Deno.test("the server's baked permissions have no run, ffi, env and sys, and the commander's no network", async () => {
  const server = await expectedPermissions("server");
  for (const kind of ["run", "ffi", "env", "sys"]) assert.equal(server[`allow_${kind}`], null, kind);
  const { allow_net } = await expectedPermissions("commander");
  assert(Array.isArray(allow_net) && allow_net.length > 0);
  assert(allow_net.every((scope) => String(scope).startsWith("unix:/")), String(allow_net));
});

const REFUSED: readonly {
  readonly what: string;
  readonly words: readonly string[];
  readonly env?: Record<string, string>;
  readonly code: number;
  readonly says: readonly RegExp[];
}[] = [
  {
    what: "a compiled program without denort, naming file, release and place",
    words: ["--format", "compile", "--target", "all"],
    code: 1,
    says: [
      /x86_64-unknown-linux-gnu: found no denort/,
      new RegExp(`get denort-${MAC}\\.zip of the Deno release v${Deno.version.deno} `),
      /--denort DIR/,
    ],
  },
  {
    what: "a compiled program for Windows with a denort for Linux",
    words: ["--format", "compile", "--target", WINDOWS],
    env: { DENORT_BIN: ANY_PROGRAM },
    code: 1,
    says: [/is ELF, accepted: a denort of that target \(PE\)/],
  },
  {
    what: "a compiled program for a Mac with a denort for Linux",
    words: ["--format", "compile", "--target", MAC],
    env: { DENORT_BIN: ANY_PROGRAM },
    code: 1,
    says: [/is ELF, accepted: a denort of that target \(Mach-O\)/],
  },
  {
    what: "a folder without denort in it",
    words: ["--format", "compile", "--denort", "/dev"],
    code: 1,
    says: [/found no denort in \/dev; get denort-/],
  },
  {
    what: "a self-extracting executable for Windows",
    words: ["--format", "self-extracting", "--target", WINDOWS],
    code: 1,
    says: [/no shell to unpack it; build it with --format compile, or run postern\.js/],
  },
  {
    what: "--config for a format that bakes nothing in",
    words: ["--format", "bundle", "--config", "/etc/hostname"],
    code: 1,
    says: [/cannot use --config/],
  },
  {
    what: "a release key that is none, without showing it",
    words: ["--format", "bundle", "--release-key", "/etc/passwd"],
    code: 1,
    says: [
      /^error: .*--release-key \/etc\/passwd: found something else, accepted .*32 bytes/m,
    ],
  },
  {
    what: "a folder that cannot be made",
    words: ["--format", "bundle", "--out", "/dev/null/dist"],
    code: 1,
    says: [/^error: cannot make the folder --out \/dev\/null\/dist: /m],
  },
  {
    what: "a registry that cannot be reached, in a few lines",
    words: ["--format", "self-extracting"],
    env: { npm_config_registry: "http://127.0.0.1:9/", npm_config_fetch_retries: "0" },
    code: 1,
    says: [
      /^error: cannot use the runtime @deno\/\S+: npm ended with 1:$/m,
      /ECONNREFUSED/,
      /^error: it needs an npm registry: npm config get registry$/m,
      /^(?:.*\n){0,12}$/,
    ],
  },
  {
    what: "to build without npm, and says so",
    words: ["--format", "self-extracting"],
    env: { PATH: "/dev/null" },
    code: 1,
    says: [/^error: cannot use the runtime @deno\/\S+: npm is not installed$/m],
  },
  {
    what: "an unknown role",
    words: ["--role", "sever"],
    code: 2,
    says: [/found "sever", accepted: client, /],
  },
  {
    what: "an unknown target",
    words: ["--target", "vax"],
    code: 2,
    says: [/found "vax", accepted: x86_64-/],
  },
  { what: "an unknown option", words: ["--formt", "bundle"], code: 2, says: [/--formt/] },
];
for (const { what, words, env, code, says } of REFUSED) {
  Deno.test({
    name: `deno task compile refuses ${what}`,
    timeout: 30_000,
    async fn(): Promise<void> {
      await using folder = await TempFolder.make("refused");
      const out = `${folder.path}/out`;
      const result = await compile(["--out", out, ...words, "--quick"], env);
      assert.equal(result.code, code, result.stderr);
      for (const pattern of says) assert.match(result.stderr, pattern);
      assert(!result.stderr.includes("root:"), result.stderr);
      const built = await Array.fromAsync(Deno.readDir(out)).catch(() => []);
      assert.deepEqual(built, [], "something was built");
    },
  });
}

Deno.test({
  name: "deno task compile --format bundle writes the whole program as one file that Deno runs",
  timeout: 30_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("bundle");
    const { code, stderr } = await compile(["--format", "bundle", "--quick", "--out", folder.path]);
    assert.equal(code, 0, stderr);
    const names = (await Array.fromAsync(Deno.readDir(folder.path))).map(({ name }) => name).sort();
    assert.deepEqual(names, ["SHA256SUMS", "postern.js"]);
    const output = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--no-config",
        "--unstable-net",
        `${folder.path}/postern.js`,
        "client",
        "gen",
      ],
    }).output();
    assert.equal(output.code, 0, new TextDecoder().decode(output.stderr));
    assert.equal(new TextDecoder().decode(output.stdout).trim().length, 56);
    const text = await Deno.readTextFile(`${folder.path}/postern.js`);
    assert.doesNotMatch(
      text,
      /(?:^|[;\n])import\b[^(]*from\s*["']node:/,
      "every command pays for what is imported at once",
    );
    assert(!text.includes(new URL("../..", import.meta.url).pathname), "the folder it was built in is in it");
  },
});

/** Why no compiled program can be started here, or null. */
async function denortObstacle(): Promise<string | null> {
  const path = Deno.env.get("DENORT_BIN") ?? "";
  if (path === "") return "DENORT_BIN names no denort";
  const size = await Deno.stat(path).then((file) => file.size, () => 0);
  return size > 10_000_000 ? await bareMachineObstacle() : `DENORT_BIN is ${path}, which is no denort`;
}

Deno.test({
  ...unless(
    elf ?? await denortObstacle(),
    "compiled programs alone on a machine: a knock runs a command there",
  ),
  timeout: 120_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("compiled");
    const env = { DENORT_BIN: Deno.env.get("DENORT_BIN") ?? "" };
    const { code, stderr } = await compile(["--format", "compile", "--quick", "--out", folder.path], env);
    assert.equal(code, 0, stderr);
    const paths = ROLES.map((role) => `${folder.path}/postern-${role}-${Deno.build.target}`);
    await using machine = await BareMachine.make(paths);
    const { commander, server } = await machine.startServices({ uid: UID, unpack: false });
    await machine.knock({ uid: UID + 1 });
    const knocked = (): Promise<string> => Deno.readTextFile(machine.outside("/knocked")).catch(() => "");
    await until("the command has run", async () => await knocked() === "127.0.0.1\n");
    for (const process of [server, commander]) assert.equal((await process.stop("SIGTERM")).code, 0);
  },
});
