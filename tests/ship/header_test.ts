/** How the header of a self-extracting executable starts the runtime, word by word. */
import assert from "node:assert/strict";
import { type Role, ROLES } from "../../src/cli/command_spec.ts";
import { unless } from "../e2e/machine.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { buildObstacle } from "./built_files.ts";
import { FakeRuntime } from "./fake_runtime.ts";

const CONFIG = "/etc/postern/config.toml";
const ALWAYS = [
  "run",
  "--no-prompt",
  "--no-config",
  "--no-remote",
  "--no-npm",
  "--deny-import",
  "--unstable-net",
];
const VARIABLES =
  "--allow-env=POSTERN_CONF_DIR,RUROCO_CONF_DIR,XDG_CONFIG_HOME,HOME,POSTERN_RELAY,XDG_STATE_HOME";

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ ...unless(buildObstacle(), name), timeout: 30_000, fn });
}

type Asking = readonly [
  role: Role,
  words: readonly string[],
  may: readonly [read: string, env: string, sys?: string],
  env?: Readonly<Record<string, string>>,
];
const ASKING: readonly Asking[] = [
  ["client", ["send", "-a", "host", "-c", "default"], ["--deny-read", VARIABLES]],
  ["client", ["permissions", "client"], [`--allow-read=${CONFIG}`, VARIABLES]],
  ["client", ["permissions", "--config", "f"], ["--allow-read=f", VARIABLES]],
  ["client", [], ["--deny-read", VARIABLES]],
  ["setup", ["doctor"], [`--allow-read=${CONFIG}`, VARIABLES]],
  ...(["server", "commander"] as const).flatMap((role): readonly Asking[] => [
    [role, [], [`--allow-read=${CONFIG}`, "--deny-env"]],
    [role, ["--config", "a b *"], ["--allow-read=a b *", "--deny-env"]],
    [role, ["--config=a=b"], ["--allow-read=a=b", "--deny-env"]],
    [role, ["-c", "--x"], ["--allow-read=--x", "--deny-env"]],
    [role, ["-cf"], ["--allow-read=f", "--deny-env"]],
    [role, ["--config", "a", "--config=b"], ["--allow-read=b", "--deny-env"]],
    [role, ["permissions", "--flags", "--", "--config", "f"], ["--allow-read=f", "--deny-env"]],
    // Not every file, which the flag without a name would mean.
    [role, ["--config", ""], ["--deny-read", "--deny-env"]],
    [role, ["--config"], [`--allow-read=${CONFIG}`, "--deny-env"]],
    // Behind it stand the words of another command line; of any other command they are none of its own.
    [role, ["doctor", "--", "--config", "f"], [`--allow-read=${CONFIG}`, "--deny-env"]],
  ]),
  ["server", ["manage", "--dir", "d", "--config", "f"], ["--deny-read", "--deny-env"]],
  ["server", ["manage", "audit"], ["--deny-read", "--deny-env"]],
  ["commander", ["agent"], [
    "--allow-read=/var/lib/postern-agent,/etc/passwd",
    "--deny-env",
    "--allow-sys=uid",
  ]],
  ["commander", ["agent", "--dir=a b"], ["--allow-read=a b,/etc/passwd", "--deny-env", "--allow-sys=uid"]],
  ["client", ["join", "-", "--dir", "d"], ["--deny-read", VARIABLES]],
  ...["hosts", "exec", "shell", "forward"].flatMap((word): readonly Asking[] => [
    ["client", [word, "--dir", "d"], ["--allow-read=d", VARIABLES]],
    ["client", [word, "x", "--", "ls", "--dir", "/", "-c", "/"], ["--deny-read", VARIABLES]],
    ["client", [word], ["--allow-read=/c/manage", VARIABLES], { POSTERN_CONF_DIR: "/c", HOME: "/h" }],
    ["client", [word], ["--allow-read=/r/manage", VARIABLES], {
      RUROCO_CONF_DIR: "/r",
      XDG_CONFIG_HOME: "/x",
    }],
    ["client", [word], ["--allow-read=/x/postern/manage", VARIABLES], { XDG_CONFIG_HOME: "/x", HOME: "/h" }],
    [
      "client",
      [word],
      ["--allow-read=/h/.config/postern/manage", VARIABLES],
      { XDG_CONFIG_HOME: "x", POSTERN_CONF_DIR: "", HOME: "/h" },
    ],
  ]),
];

test("the start that asks for the flags may read the one place that its words name, and nothing else", async () => {
  await using runtime = await FakeRuntime.make(ROLES);
  for (const [role, words, [read, variables, sys = "--deny-sys"], env = {}] of ASKING) {
    const may = [read, variables, sys];
    const { starts, stderr } = await runtime.start(role, words, { code: 7, env });
    const self = runtime.path(role);
    assert.equal(stderr, "");
    assert.deepEqual(starts, [[...ALWAYS, ...may, "BUNDLE", self, "permissions", "--flags", "--", ...words]]);
  }
});

test("the program gets its words as they are, and the flags that were printed, each as one", async () => {
  await using runtime = await FakeRuntime.make(["server"]);
  const words = ["a b", "*", "", "--allow-all", "$(x)", "--", "'"];
  const granted = [
    "--allow-read=/a b,/*",
    "--allow-net=h:1",
    "--deny-write=/x",
    "--allow-env=HOME",
    "--allow-run=*",
  ];
  await using folder = await TempFolder.make("planted");
  await Deno.writeTextFile(`${folder.path}/--allow-run=planted`, "");
  const { code, starts } = await runtime.start("server", words, {
    flags: `${granted.join("\n")}\n`,
    cwd: folder.path,
  });
  assert.equal(code, 0);
  assert.deepEqual(starts[1], [...ALWAYS, ...granted, "BUNDLE", runtime.path("server"), ...words]);
  assert.equal(starts.length, 2);
  const none = await runtime.start("server", ["--help"]);
  assert.deepEqual(none.starts[1], [...ALWAYS, "BUNDLE", runtime.path("server"), "--help"]);
});

test("a flag that no role may have is refused, wherever it stands", async () => {
  await using runtime = await FakeRuntime.make(["server"]);
  for (
    const flag of [
      "--allow-all",
      "-A",
      "--allow-ffi",
      "--allow-import",
      "--v8-flags=x",
      "--config=/x",
      "/x.js",
    ]
  ) {
    const { code, starts, stderr } = await runtime.start("server", [], {
      flags: `--allow-net=h:1\n${flag}\n`,
    });
    assert.deepEqual({ code, starts: starts.length }, { code: 1, starts: 1 });
    assert(stderr.includes(`the bundle asked for "${flag}"`), stderr);
  }
});

test("what says no to the words ends the start, with its code and what it printed", async () => {
  await using runtime = await FakeRuntime.make(["client"]);
  const { code, stdout, starts } = await runtime.start("client", ["sned"], {
    code: 2,
    flags: '{"error": 1}\n',
  });
  assert.deepEqual({ code, stdout, starts: starts.length }, { code: 2, stdout: '{"error": 1}\n', starts: 1 });
});

test("the start that asks for the flags reads nothing of what the program is to read", async () => {
  await using runtime = await FakeRuntime.make(["client"]);
  assert.equal((await runtime.start("client", ["send", "-k", "-"], { stdin: "key\n" })).input, "");
});

test("the client's threads share two arenas of the C library, unless the user says how many; the others are left alone", async () => {
  await using runtime = await FakeRuntime.make(["client", "server"]);
  const arenasOf = async (role: Role, env: Record<string, string> = {}): Promise<readonly string[]> =>
    (await runtime.start(role, [], { env })).arenas;
  const isMeant = Deno.build.target.endsWith("-linux-gnu");
  assert.deepEqual(await arenasOf("client"), isMeant ? ["2", "2"] : ["unset", "unset"]);
  assert.deepEqual(await arenasOf("client", { MALLOC_ARENA_MAX: "7" }), ["7", "7"]);
  assert.deepEqual(await arenasOf("server"), ["unset", "unset"]);
});

test("a configuration with a comma in its name is refused: it would grant two files", async () => {
  await using runtime = await FakeRuntime.make(["server"]);
  const { code, starts, stderr } = await runtime.start("server", ["--config", "a,/etc"]);
  assert.deepEqual({ code, starts }, { code: 1, starts: [] });
  assert.match(stderr, /^error: cannot start: no permission can be given for "a,\/etc": it has a comma$/m);
});

test("a cache folder whose name is relative or has two lines is refused", async () => {
  await using runtime = await FakeRuntime.make(["client"]);
  for (
    const [folder, problem] of [
      ["cache", /"cache": not an absolute path$/m],
      ["/tmp/a\nb", /more than one line$/m],
    ] as const
  ) {
    const { code, starts, stderr } = await runtime.start("client", [], {
      env: { POSTERN_CACHE_DIR: folder },
    });
    assert.deepEqual({ code, starts }, { code: 1, starts: [] });
    assert.match(stderr, problem);
  }
});
