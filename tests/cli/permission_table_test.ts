/** The table as a whole: complete, in step with what each command keeps, and computed from next to nothing. */
import assert from "node:assert/strict";
import { CHECKOUT } from "../../src/cli/build.ts";
import { parse } from "../../src/cli/parse.ts";
import { permissionsFor, rolePermissions } from "../../src/cli/permission_table.ts";
import { COMMANDS, ROLES } from "../../src/cli/table.ts";
import { ManageFolder } from "../../src/client/manage/manage_folder.ts";
import { DEFAULT_AGENT_TOML } from "../../src/commander/agent/agent_config.ts";
import { AgentFolder } from "../../src/commander/agent/agent_folder.ts";
import { SigningKey } from "../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../src/protocol/rpc/timers.ts";
import { Failure } from "../../src/system/failure.ts";
import { permissionFlags, type PermissionGrant, permissionSet } from "../../src/system/permissions.ts";

/** A command line of each command that uses all of its permissions. */
const LINES: Readonly<Record<string, string>> = {
  "client send": "-a host.example -K user.key",
  "client connect": "-a host.example -K user.key --to host.example:22",
  "client gen": "--key-file user.key",
  "client share": "report.pdf --relay relay.example:8080",
  "client receive": "--relay relay.example:8080",
  "server relay": "--status status.json",
  "client doctor": "-a host.example -K user.key",
  "client update": "--from https://releases.example/postern --key release.pub",
  "client join": "-",
  "client shell": "web1",
  "client exec": "web1 -- uptime",
  "client forward": "web1 5432",
  "client replay": "web1.cast",
  "server manage init": "--address manage.example:7022",
  "server manage invite": "host web1",
  "server manage revoke": "host web1",
  "commander agent trust": "alice",
  "completions": "bash",
};

/** What a joined administrator and a joined host have in this folder. */
async function writeJoined(folder: string): Promise<void> {
  const serverKey = (await SigningKey.generate(systemRandomBytes)).publicKey;
  const record = { addresses: ["manage.example:7022"], caCertificates: ["PEM"], generation: 1, serverKey };
  await Deno.mkdir(`${folder}/manage`);
  new ManageFolder(`${folder}/manage`).keepServer({ name: "alice", ...record });
  const agent = new AgentFolder(`${folder}/agent`);
  await Deno.mkdir(agent.path);
  await agent.writeServer({ name: "web1", ...record });
  await Deno.writeTextFile(agent.configPath, DEFAULT_AGENT_TOML, { mode: 0o600 });
}

async function grantsOf(line: string): Promise<PermissionGrant[]> {
  const request = await parse(line.split(" ").filter(Boolean), CHECKOUT);
  if (request.kind !== "command") throw new Error(`"${line}" is no command`);
  return await permissionsFor(request.command, request.values);
}

function flags(grants: readonly PermissionGrant[]): string[] {
  return permissionFlags(permissionSet(grants));
}

for (const command of COMMANDS) {
  const line = command.path.join(" ");
  Deno.test({
    name: `permissionsFor() grants "${line}" the kinds it keeps, no other, each with a reason`,
    async fn(): Promise<void> {
      const folder = await Deno.makeTempDir({ prefix: "postern-table-" });
      const before = Deno.env.get("POSTERN_CONF_DIR");
      try {
        Deno.env.set("POSTERN_CONF_DIR", folder);
        await Deno.writeTextFile(
          `${folder}/config.toml`,
          `ips = ["127.0.0.1"]\nstatus_file = "${folder}/s"\n`,
        );
        await writeJoined(folder);
        const has = (option: string): boolean => command.options.some(({ name }) => name === option);
        const config = has("config") ? `--config ${folder}/config.toml` : "";
        // An administrator's folder is found by the environment.
        const dir = has("dir") && command.path[0] !== "client" ? `--dir ${folder}/agent` : "";
        const [words, ...rest] = (LINES[line] ?? "").split(" -- ");
        const tail = rest.length === 0 ? "" : `-- ${rest.join(" -- ")}`;
        const grants = await grantsOf(`${line} ${words} ${config} ${dir} ${tail}`);
        assert.deepEqual(new Set(grants.map(({ kind }) => kind)), new Set(Object.keys(command.needs)));
        for (const { from, why } of grants) assert.ok(from.length > 0 && why.length > 0);
        assert.doesNotThrow(() => flags(grants));
      } finally {
        if (before === undefined) Deno.env.delete("POSTERN_CONF_DIR");
        else Deno.env.set("POSTERN_CONF_DIR", before);
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

Deno.test({
  name: "permissionsFor() of a knock is the network alone where nothing else may be known",
  permissions: "none",
  async fn(): Promise<void> {
    assert.deepEqual(flags(await grantsOf("client send -a host.example -k -")), ["--allow-net"]);
    assert.deepEqual(flags(await grantsOf("client send -a host.example -K k")), [
      "--allow-net",
      "--allow-read=k",
    ]);
    assert.deepEqual(await grantsOf("client gen"), []);
    assert.deepEqual(await grantsOf("client reseed"), []);
  },
});

Deno.test({
  name: "permissionsFor() finds the config folder by one variable, and grants no other",
  permissions: { env: ["XDG_CONFIG_HOME"] },
  async fn(): Promise<void> {
    Deno.env.set("XDG_CONFIG_HOME", "/home/me/.xdg");
    assert.deepEqual(flags(await grantsOf("client send -a host.example -k -")), [
      "--allow-net",
      "--allow-read=/home/me/.xdg/postern",
      "--allow-write=/home/me/.xdg/postern",
      "--allow-env=XDG_CONFIG_HOME",
    ]);
    // No flag can name it: a knock does without.
    Deno.env.set("XDG_CONFIG_HOME", "/home/me,/etc");
    assert.deepEqual(flags(await grantsOf("client send -a host.example -k -")), ["--allow-net"]);
    Deno.env.delete("XDG_CONFIG_HOME");
  },
});

Deno.test("permissionsFor() puts no key that was typed as a file's name into a flag", async () => {
  const key = "A".repeat(53) + "A==";
  for (const line of [`client send -a host.example -K ${key}`, `client gen --key-file ${key}`]) {
    assert.ok(!JSON.stringify(await grantsOf(line)).includes(key));
  }
});

Deno.test({
  name: "permissionsFor() names the configuration it may not read, and prompts nobody",
  permissions: "none",
  async fn(): Promise<void> {
    await assert.rejects(
      grantsOf("server --config /etc/x.toml"),
      (error: unknown) => error instanceof Failure && error.message.includes("--allow-read=/etc/x.toml"),
    );
    // Pasted, that flag would grant two other paths.
    await assert.rejects(
      grantsOf("server --config /etc/x,y.toml"),
      (error: unknown) => error instanceof Failure && error.message.includes("found a comma"),
    );
  },
});

Deno.test({
  name: "rolePermissions() knows the standard layout without looking at the machine",
  permissions: "none",
  async fn(): Promise<void> {
    assert.deepEqual(flags(await rolePermissions("server")), [
      "--allow-net=[::]:34020,unix:/run/postern/ruroco.socket",
      "--allow-read=/etc/postern,/var/lib/postern,/run/postern/ruroco.socket",
      "--allow-write=/var/lib/postern/blocklist.msgpck,/var/lib/postern/.blocklist.msgpck.tmp," +
      "/var/lib/postern/postern-server.lock,/var/lib/postern/status.json,/var/lib/postern/.status.json.tmp," +
      "/run/postern/ruroco.socket",
      "--deny-read=/etc/postern/commands.toml",
    ]);
    assert.deepEqual(flags(await rolePermissions("commander")), [
      "--allow-net=unix:/run/postern/.commander/ruroco.socket",
      "--allow-read=/etc/postern/config.toml,/etc/postern/commands.toml,/etc/passwd,/etc/group,/run/postern," +
      "/var/lib/postern-commander",
      "--allow-write=/run/postern,/var/lib/postern-commander/leases.json,/var/lib/postern-commander/.leases.json.tmp",
      "--allow-run=/bin/sh",
    ]);
    assert.deepEqual(flags(await rolePermissions("client")), [
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-env=POSTERN_CONF_DIR,RUROCO_CONF_DIR,XDG_CONFIG_HOME,HOME,POSTERN_RELAY,XDG_STATE_HOME,TERM",
      "--allow-sys=statfs",
    ]);
    for (const role of ROLES) {
      const kinds = new Set((await rolePermissions(role)).map(({ kind }) => kind));
      assert.equal(kinds.has("run"), role === "commander" || role === "setup", role);
      assert.equal(kinds.has("sys"), role === "setup" || role === "client", role);
    }
  },
});

Deno.test("rolePermissions() takes the layout of a configuration that is given", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-table-" });
  try {
    await Deno.writeTextFile(
      `${folder}/config.toml`,
      `ips = []\naddress = "192.0.2.1:7"\nsocket_dir = "/run/x"\n`,
    );
    const [net] = flags(await rolePermissions("server", `${folder}/config.toml`));
    assert.equal(net, "--allow-net=192.0.2.1:7,unix:/run/x/ruroco.socket");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name:
    "permissionsFor() of `permissions` reads what decides the command line that it is asked about, nothing else",
  permissions: { env: ["POSTERN_CONF_DIR"] },
  async fn(): Promise<void> {
    Deno.env.set("POSTERN_CONF_DIR", "/home/me/postern");
    const ownFlags = async (line: string): Promise<string[]> =>
      flags(await grantsOf(`permissions ${line}`)).filter((flag) => !flag.startsWith("--allow-env="));
    assert.deepEqual(await ownFlags("-- server -c /x/y.toml"), ["--allow-read=/x/y.toml"]);
    assert.deepEqual(await ownFlags("-- commander agent --dir /x"), [
      "--allow-read=/x,/etc/passwd",
      "--allow-sys=uid",
    ]);
    for (const word of ["hosts", "shell web1", "exec web1 -- id -c /etc/shadow", "forward web1 80"]) {
      assert.deepEqual(await ownFlags(`-- client ${word}`), ["--allow-read=/home/me/postern/manage"], word);
    }
    assert.deepEqual(await ownFlags("-- client hosts --dir /x"), ["--allow-read=/x"]);
    assert.deepEqual(await ownFlags("server"), ["--allow-read=/etc/postern/config.toml"]);
    assert.deepEqual(await ownFlags(""), [
      "--allow-read=/etc/postern/config.toml,/home/me/postern/manage,/var/lib/postern-agent,/etc/passwd",
      "--allow-sys=uid",
    ]);
    Deno.env.delete("POSTERN_CONF_DIR");
  },
});
