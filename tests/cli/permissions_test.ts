/** What is dropped and what is found missing or too much, asked of real processes under real grants. */
import assert from "node:assert/strict";
import { COMMANDS } from "../../src/cli/table.ts";
import type { PermissionSet } from "../../src/system/permissions.ts";

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

Deno.test("no role may do what another is for", () => {
  const kinds = new Map(COMMANDS.map((command) => [command.path.join(" "), Object.keys(command.needs)]));
  for (const [line, needs] of kinds) {
    assert.equal(needs.includes("run"), line === "commander knock", `${line} and run`);
    assert(!needs.includes("ffi") && !needs.includes("sys") && !needs.includes("import"), line);
  }
});

const NEEDED: PermissionSet = {
  net: ["127.0.0.1:80", "unix:/run/p/s"],
  read: ["/etc/postern", "/etc/postern/config.toml", "/var/lib/postern"],
  write: ["/var/lib/postern"],
  run: ["/bin/sh"],
  denyRead: ["/etc/postern/commands.toml"],
};
const EXACT = [
  "--allow-net=127.0.0.1:80,unix:/run/p/s",
  "--allow-read=/etc/postern,/etc/postern/config.toml,/var/lib/postern",
  "--allow-write=/var/lib/postern",
  "--allow-run=/bin/sh",
  "--deny-read=/etc/postern/commands.toml",
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
  ]],
  ["one kind missing", exactBut("--allow-run"), ["--allow-run=/bin/sh"], []],
  [
    "one path missing",
    exactBut("--allow-write", "--allow-write=/tmp"),
    ["--allow-write=/var/lib/postern"],
    [],
  ],
  ["a whole kind", exactBut("--allow-net", "--allow-net"), [], ["--allow-net"]],
  ["every port of the host", exactBut("--allow-net", "--allow-net=127.0.0.1,unix:/run/p/s"), [], [
    "--allow-net=127.0.0.1",
  ]],
  ["a folder above", exactBut("--allow-write", "--allow-write=/var"), [], ["--allow-write=/var/lib,/var"]],
  ["a denial left out", exactBut("--deny-read"), [], ["no --deny-read=/etc/postern/commands.toml"]],
];
for (const [what, flags, missing, excess] of AUDITS) {
  Deno.test(`auditPermissions() under ${what}`, async () => {
    const found = await probe(flags, "audit", JSON.stringify(NEEDED)) as Record<string, unknown>;
    assert.deepEqual({ missing: found["missing"], excess: found["excess"] }, { missing, excess });
  });
}

Deno.test("runLine() can be typed as it is", async () => {
  const { line } = await probe([], "audit", JSON.stringify({ ...NEEDED, net: ["[::]:80"] })) as {
    line: string;
  };
  assert.equal(
    line,
    "deno run --no-prompt '--allow-net=[::]:80' --allow-read=/etc/postern,/etc/postern/config.toml,/var/lib/postern " +
      "--allow-write=/var/lib/postern --allow-run=/bin/sh --deny-read=/etc/postern/commands.toml " +
      "/opt/main.ts server -c 'a b'",
  );
});
