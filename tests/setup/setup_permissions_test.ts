import assert from "node:assert/strict";
import { setupPermissions } from "../../src/setup/setup_permissions.ts";
import { isWithin } from "../../src/system/path.ts";
import { permissionFlags, permissionSet } from "../../src/system/permissions.ts";
import { runSetup } from "../../src/setup/setup.ts";
import { FakeMachine } from "./fake_machine.ts";

Deno.test("setupPermissions() for a dry run has no write at all, and runs only what answers questions", () => {
  const flags = permissionFlags(permissionSet(setupPermissions({ dryRun: true, root: "/" })));
  assert(!flags.some((flag) => flag.startsWith("--allow-write")));
  assert.deepEqual(flags.filter((flag) => flag.startsWith("--allow-run")), [
    "--allow-run=/usr/bin/df,/usr/bin/systemctl",
  ]);
});

Deno.test("setupPermissions() names every program by its absolute path, and never the network beyond this machine", () => {
  for (const root of ["/", "/mnt"]) {
    for (const { kind, scope } of setupPermissions({ dryRun: false, root, port: 4711 })) {
      if (kind === "run") assert.match(String(scope), /^\//);
      if (kind === "net") assert.match(String(scope), /^(127\.0\.0\.1|0\.0\.0\.0:0|\[::\]:0|\[::\]:4711)$/);
      if (kind === "write" && root !== "/") assert.equal(scope, root);
    }
  }
});

Deno.test("setupPermissions() has the folder of everything that a setup writes", async () => {
  const machine = new FakeMachine();
  await runSetup(machine, {
    root: "/",
    ips: "9.9.9.9",
    port: 34020,
    keyName: "user",
    from: undefined,
    program: { selfExtractingPath: "/root/postern-setup", isCompiled: false, execPath: "/deno" },
  }, []);
  const grants = setupPermissions({ dryRun: false, root: "/" }).filter(({ kind }) => kind === "write");
  const written = machine.acts.flatMap((act) => {
    const [name, ...paths] = act.split(" ");
    return name === "writeFile" || name === "makeFolder" || name === "rename" || name === "link"
      ? paths.filter((path) => path.startsWith("/"))
      : [];
  });
  assert(written.length > 20);
  for (const path of written) {
    assert(grants.some(({ scope }) => typeof scope === "string" && isWithin(path, scope)), path);
  }
});
