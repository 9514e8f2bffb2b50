/** Run by permissions_test.ts under various grants: drops or audits, and prints what it found as JSON. */
import { auditPermissions } from "../../src/cli/permission_audit.ts";
import { dropUnneededPermissions } from "../../src/cli/permissions.ts";
import { COMMANDS } from "../../src/cli/table.ts";

const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"] as const;
const [action, argument = ""] = Deno.args;

if (action === "drop") {
  dropUnneededPermissions(COMMANDS.find((command) => command.path.join(" ") === argument));
  const granted = KINDS.filter((name) => Deno.permissions.querySync({ name }).state === "granted");
  Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(granted)));
} else if (action === "drop-scoped") {
  dropUnneededPermissions(undefined);
  const scoped: Deno.PermissionDescriptor[] = [
    { name: "run", command: "/bin/sh" },
    { name: "env", variable: "HOME" },
    { name: "read", path: "/etc" },
    { name: "net", host: "127.0.0.1:80" },
  ];
  const granted = scoped.filter((each) => Deno.permissions.querySync(each).state === "granted");
  Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(granted)));
} else {
  const needed = JSON.parse(argument);
  Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(auditPermissions(needed))));
}
