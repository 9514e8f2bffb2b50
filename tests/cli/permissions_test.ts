/** What is dropped and what is found missing or too much, asked of real processes under real grants. */
import assert from "node:assert/strict";
import { type Build, CHECKOUT } from "../../src/cli/build.ts";
import { enforcePermissions } from "../../src/cli/permission_audit.ts";
import { COMMANDS } from "../../src/cli/table.ts";
import { Failure } from "../../src/system/failure.ts";
import { permissionFlags, type PermissionSet } from "../../src/system/permissions.ts";

const probePath = new URL("./permission_probe.ts", import.meta.url).pathname;

async function probe(flags: readonly string[], action: string, argument: string): Promise<unknown> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...flags, probePath, action, argument],
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

for (const command of COMMANDS) {
  const line = command.path.join(" ");
  Deno.test(`dropUnneededPermissions() under -A leaves "${line}" what its table names and nothing else`, async () => {
    const granted = await probe(["-A"], "drop", line);
    assert.deepEqual(new Set(granted as string[]), new Set(Object.keys(command.needs)));
  });
}

Deno.test("dropUnneededPermissions() leaves help and version nothing", async () => {
  assert.deepEqual(await probe(["-A"], "drop", "none"), []);
});

const RUNS = ["commander knock", "commander agent"];
/** How much room there is, or who this is, and nothing else: see the scopes in the permission table. */
const SEES_THE_SYSTEM = ["client receive", "commander agent", "permissions"];
const WITHOUT_NETWORK = [
  ...["client gen", "client reseed", "client identity", "client replay"],
  ...["init", "invite", "revoke", "list", "audit", "rotate-ca"].map((word) => `server manage ${word}`),
  ...["commander agent trust", "permissions", "completions", "man"],
];

Deno.test("no role may do what another is for", () => {
  const foreign = (kinds: readonly string[]): boolean => kinds.includes("ffi") || kinds.includes("import");
  for (const { path, needs, role } of COMMANDS) {
    const line = path.join(" ");
    const kinds = Object.keys(needs);
    assert(!foreign(kinds), line);
    // Setup, which installs and examines the others, is a program of its own.
    if (role === "setup") continue;
    assert.equal(kinds.includes("run"), RUNS.includes(line), `${line} and run`);
    assert.equal(kinds.includes("sys"), SEES_THE_SYSTEM.includes(line), `${line} and sys`);
    // Where a command line decides nothing but a folder, the network is not even asked for.
    assert.equal(kinds.includes("net"), !WITHOUT_NETWORK.includes(line), `${line} and net`);
  }
});

const NEEDED: PermissionSet = {
  net: ["127.0.0.1:80", "unix:/run/p/s"],
  read: ["/etc/postern", "/etc/postern/config.toml", "/var/lib/postern"],
  write: ["/var/lib/postern"],
  run: ["/bin/sh"],
  denyRead: ["/etc/postern/commands.toml"],
  denyWrite: ["/var/lib/postern/leases"],
};
const EXACT = [
  "--allow-net=127.0.0.1:80,unix:/run/p/s",
  "--allow-read=/etc/postern,/etc/postern/config.toml,/var/lib/postern",
  "--allow-write=/var/lib/postern",
  "--allow-run=/bin/sh",
  "--deny-read=/etc/postern/commands.toml",
  "--deny-write=/var/lib/postern/leases",
];

function exactBut(flag: string, replacement?: string): string[] {
  const rest = EXACT.filter((each) => !each.startsWith(flag));
  assert.equal(rest.length, EXACT.length - 1);
  return replacement === undefined ? rest : [...rest, replacement];
}

const AUDITS: readonly [what: string, flags: string[], missing: string[], excess: string[]][] = [
  ["the exact grants", EXACT, [], []],
  ["no grant", [], EXACT.filter((flag) => flag.startsWith("--allow")), []],
  ["everything", ["-A"], [], [
    "--allow-net",
    "--allow-read",
    "--allow-write",
    "--allow-run",
    "--allow-env",
    "--allow-sys",
    "no --deny-read=/etc/postern/commands.toml",
    "no --deny-write=/var/lib/postern/leases",
  ]],
  ["one kind missing", exactBut("--allow-run"), ["--allow-run=/bin/sh"], []],
  [
    "one path missing",
    exactBut("--allow-write", "--allow-write=/tmp"),
    ["--allow-write=/var/lib/postern"],
    ["--allow-write=/tmp"],
  ],
  ["a whole kind", exactBut("--allow-net", "--allow-net"), [], ["--allow-net"]],
  ["every port of the host", exactBut("--allow-net", "--allow-net=127.0.0.1,unix:/run/p/s"), [], [
    "--allow-net=127.0.0.1",
  ]],
  ["a folder above", exactBut("--allow-write", "--allow-write=/var"), [], ["--allow-write=/var"]],
  [
    "folders elsewhere",
    exactBut("--allow-read", "--allow-read=/etc/postern,/var/lib/postern,/root,/home"),
    [],
    [
      "--allow-read=/home,/root",
    ],
  ],
  ["the root folder", exactBut("--allow-write", "--allow-write=/"), [], ["--allow-write=/"]],
  [
    "a file of credentials",
    exactBut("--allow-read", "--allow-read=/etc/postern,/var/lib/postern,/etc/shadow"),
    [],
    [
      "--allow-read=/etc/shadow",
    ],
  ],
  [
    "another host",
    exactBut("--allow-net", "--allow-net=127.0.0.1:80,unix:/run/p/s,example.com:443,10.0.0.0/8"),
    [],
    ["--allow-net=10.0.0.1,example.com:443"],
  ],
  [
    "another socket",
    exactBut("--allow-net", "--allow-net=127.0.0.1:80,unix:/run/p/s,unix:/run/docker.sock"),
    [],
    ["--allow-net=unix:/run/docker.sock"],
  ],
  ["another program", exactBut("--allow-run", "--allow-run=/bin/sh,bash"), [], ["--allow-run=bash"]],
  ["a denial to read left out", exactBut("--deny-read"), ["--deny-read=/etc/postern/commands.toml"], []],
  ["a denial to write left out", exactBut("--deny-write"), ["--deny-write=/var/lib/postern/leases"], []],
  [
    "a denial left out of a whole kind",
    [...exactBut("--allow-read", "--allow-read").filter((flag) => !flag.startsWith("--deny-read"))],
    [],
    ["--allow-read", "no --deny-read=/etc/postern/commands.toml"],
  ],
];
for (const [what, flags, missing, excess] of AUDITS) {
  Deno.test(`auditPermissions() under ${what}`, async () => {
    const found = await probe(flags, "audit", JSON.stringify(NEEDED)) as Record<string, unknown>;
    assert.deepEqual({ missing: found["missing"], excess: found["excess"] }, { missing, excess });
  });
}

Deno.test({
  name: "enforcePermissions() tells whoever has an executable by deno compile which one can do another job",
  permissions: "none",
  fn(): void {
    const build: Build = { ...CHECKOUT, role: "server" };
    const invocation = { mainPath: "postern-server", argv: ["manage"], build };
    assert.throws(
      () => enforcePermissions({ net: ["[::]:7022"] }, invocation, true, () => {}),
      (error: unknown) =>
        error instanceof Failure &&
        error.message.endsWith("permissions are missing: --allow-net=[::]:7022") &&
        /deno compile has baked in[^]*self-extracting/.test(error.hintLines.join("\n")),
    );
  },
});

const WIDE: PermissionSet = {
  net: ["0.0.0.0:80", "[::]:80"],
  read: ["/etc", "/var"],
  write: ["/tmp"],
  run: ["/bin/sh"],
};
Deno.test("auditPermissions() takes nothing below a needed folder, and no needed address, for too much", async () => {
  const found = await probe(permissionFlags(WIDE), "audit", JSON.stringify(WIDE)) as Record<string, unknown>;
  assert.deepEqual({ missing: found["missing"], excess: found["excess"] }, { missing: [], excess: [] });
});

Deno.test("dropUnneededPermissions() drops scoped grants as well", async () => {
  const flags = ["--allow-run=/bin/sh", "--allow-env=HOME", "--allow-read=/etc", "--allow-net=127.0.0.1:80"];
  assert.deepEqual(await probe(flags, "drop-scoped", "none"), []);
});

for (
  const [what, build, hint] of [
    ["a checkout", CHECKOUT, "exactly what is needed:"],
    [
      "a built executable",
      { ...CHECKOUT, role: "server", executablePath: "/usr/local/bin/postern-server" },
      "/usr/local/bin/postern-server permissions --flags -- --config /etc/x.toml shows what this executable may do, " +
      "and why",
    ],
  ] satisfies [string, Build, string][]
) {
  Deno.test(`enforcePermissions() tells the user of ${what} where to see what is needed`, () => {
    const invocation = { mainPath: "/opt/postern.js", argv: ["--config", "/etc/x.toml"], build };
    // This test has every permission, so all of it is too much.
    assert.throws(
      () => enforcePermissions({ net: ["127.0.0.1:80"] }, invocation, true, () => {}),
      (error: unknown) =>
        error instanceof Failure && error.hint === hint &&
        error.hintLines.join("\n").includes("/opt/postern.js") === (build.role === null),
    );
    const said: string[] = [];
    enforcePermissions({ net: ["127.0.0.1:80"] }, invocation, false, (line) => said.push(line));
    assert.match(said[0] ?? "", /^warning: more permissions are granted than needed: --allow-net /);
    assert.equal(said[1], `hint: ${hint}`);
  });
}
