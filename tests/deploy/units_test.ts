/** The systemd units, judged by the real systemd-analyze, and against the rest of an installation. */
import assert from "node:assert/strict";
import { parse } from "smol-toml";
import config from "../../deploy/config.toml" with { type: "text" };
import agent from "../../deploy/systemd/postern-agent.service" with { type: "text" };
import commander from "../../deploy/systemd/postern-commander.service" with { type: "text" };
import manage from "../../deploy/systemd/postern-manage.service" with { type: "text" };
import relay from "../../deploy/systemd/postern-relay.service" with { type: "text" };
import server from "../../deploy/systemd/postern-server.service" with { type: "text" };
import { parse as parseLine } from "../../src/cli/parse.ts";
import { relayConfig } from "../../src/cli/server_relay.ts";
import { openFilesNeeded } from "../../src/server/relay/limits.ts";
import { missing, runProgram, scratchFolder } from "./programs.ts";

interface Unit {
  readonly name: string;
  readonly text: string;
  /** What it starts. */
  readonly line: string;
  readonly maxExposure: number;
  /** What `systemd-analyze security` finds open, by its own names, and how much it makes of each. */
  readonly open: Readonly<Record<string, number>>;
  /** Its executable. */
  readonly role: "server" | "commander";
}

const UNITS: readonly Unit[] = [
  {
    name: "postern-server.service",
    text: server,
    role: "server",
    line: "/usr/local/bin/postern-server --config /etc/postern/config.toml --strict-permissions",
    maxExposure: 1.5,
    open: {
      RootDirectoryOrRootImage: 0.1,
      MemoryDenyWriteExecute: 0.1,
      RestrictAddressFamilies_AF_UNIX: 0.1,
      RestrictAddressFamilies_AF_INET_INET6: 0.3,
      PrivateNetwork: 0.5,
      DeviceAllow: 0.1,
      IPAddressDeny: 0.2,
    },
  },
  {
    name: "postern-commander.service",
    text: commander,
    role: "commander",
    line: "/usr/local/bin/postern-commander --config /etc/postern/config.toml --strict-permissions",
    maxExposure: 4.3,
    open: {
      SystemCallFilter_resources: 0.2,
      SystemCallFilter_privileged: 0.2,
      RootDirectoryOrRootImage: 0.1,
      UserOrDynamicUser: 0.4,
      CapabilityBoundingSet_CAP_KILL: 0.1,
      CapabilityBoundingSet_CAP_DAC_FOWNER_IPC_OWNER: 0.2,
      PrivateMounts: 0.2,
      MemoryDenyWriteExecute: 0.1,
      CapabilityBoundingSet_CAP_CHOWN_FSETID_SETFCAP: 0.2,
      CapabilityBoundingSet_CAP_SET_UID_GID_PCAP: 0.3,
      RestrictAddressFamilies_AF_NETLINK: 0.1,
      RestrictAddressFamilies_AF_UNIX: 0.1,
      RestrictAddressFamilies_AF_INET_INET6: 0.3,
      ProtectSystem: 0.1,
      ProtectHome: 0.1,
      CapabilityBoundingSet_CAP_SYS_PTRACE: 0.3,
      CapabilityBoundingSet_CAP_NET_ADMIN: 0.2,
      ProtectProc: 0.2,
      ProcSubset: 0.1,
      "CapabilityBoundingSet_CAP_NET_BIND_SERVICE_BROADCAST_RAW)": 0.1,
      PrivateNetwork: 0.5,
      PrivateUsers: 0.2,
      DeviceAllow: 0.1,
      IPAddressDeny: 0.2,
      UMask: 0.1,
    },
  },
  {
    name: "postern-relay.service",
    text: relay,
    role: "server",
    line: "/usr/local/bin/postern-server relay --status /run/postern-relay/status.json --strict-permissions",
    maxExposure: 1.2,
    open: {
      RootDirectoryOrRootImage: 0.1,
      MemoryDenyWriteExecute: 0.1,
      RestrictAddressFamilies_AF_INET_INET6: 0.3,
      PrivateNetwork: 0.5,
      DeviceAllow: 0.1,
      IPAddressDeny: 0.2,
    },
  },
  {
    name: "postern-manage.service",
    text: manage,
    role: "server",
    line: "/usr/local/bin/postern-server manage --strict-permissions",
    maxExposure: 1.2,
    open: {
      RootDirectoryOrRootImage: 0.1,
      MemoryDenyWriteExecute: 0.1,
      RestrictAddressFamilies_AF_INET_INET6: 0.3,
      PrivateNetwork: 0.5,
      DeviceAllow: 0.1,
      IPAddressDeny: 0.2,
    },
  },
];

/** What an agent starts is for its administrators to use: nothing of the machine is kept from it. */
const ALL_UNITS: readonly Pick<Unit, "name" | "text" | "line" | "role">[] = [
  ...UNITS,
  {
    name: "postern-agent.service",
    text: agent,
    role: "commander",
    line: "/usr/local/bin/postern-commander agent --strict-permissions",
  },
];

/** All values of a key, in order. */
function settings(text: string, key: string): string[] {
  return [...text.matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].map(([, value]) => value ?? "");
}

/** A key that stands there once. */
function setting(text: string, key: string): string {
  const values = settings(text, key);
  assert.equal(values.length, 1, `${key} stands there ${values.length} times`);
  return values[0] ?? "";
}

/** `systemd-analyze verify` of all units, with executables that are there. */
async function verify(
  change: (text: string) => string = (text) => text,
): Promise<{ code: number; said: string }> {
  await using folder = await scratchFolder();
  const paths: string[] = [];
  for (const { name, text } of ALL_UNITS) {
    const executable = `${folder.path}/${name.replace(".service", "")}`;
    await Deno.writeTextFile(executable, "#!/bin/sh\n", { mode: 0o755 });
    const path = `${folder.path}/${name}`;
    await Deno.writeTextFile(path, change(text.replaceAll("/usr/local/bin/", `${folder.path}/`)));
    paths.push(path);
  }
  // The man pages are generated, and tested elsewhere.
  const { code, stdout, stderr } = await runProgram("systemd-analyze", ["verify", "--man=no", ...paths]);
  return { code, said: stdout + stderr };
}

const noAnalyze = missing("systemd-analyze");

for (const { name, text, maxExposure, open } of UNITS) {
  Deno.test({
    name: `${name} is exposed to ${maxExposure} at most${noAnalyze}`,
    ignore: noAnalyze !== "",
    async fn(): Promise<void> {
      await using folder = await scratchFolder();
      await Deno.writeTextFile(`${folder.path}/${name}`, text);
      const { stdout, stderr } = await runProgram("systemd-analyze", [
        "security",
        "--offline=true",
        "--no-pager",
        `${folder.path}/${name}`,
      ]);
      const exposure = / exposure level for \S+: ([0-9.]+) /.exec(stdout)?.[1];
      assert(exposure !== undefined, stdout + stderr);
      assert(Number(exposure) <= maxExposure, exposure);
    },
  });

  Deno.test({
    // The sum above leaves room for one protection to get lost.
    name: `${name} leaves nothing open but what it needs${noAnalyze}`,
    ignore: noAnalyze !== "",
    async fn(): Promise<void> {
      await using folder = await scratchFolder();
      await Deno.writeTextFile(`${folder.path}/${name}`, text);
      const { stdout, stderr } = await runProgram("systemd-analyze", [
        "security",
        "--offline=true",
        "--no-pager",
        "--json=short",
        `${folder.path}/${name}`,
      ]);
      const items: { json_field: string; exposure: string | null }[] = JSON.parse(stdout);
      assert(items.length > 70, stderr);
      const wider = items.filter(({ json_field, exposure }) =>
        Number(exposure ?? 0) > (open[json_field] ?? 0)
      );
      assert.deepEqual(wider, []);
    },
  });
}

for (const { name, text, line } of ALL_UNITS) {
  Deno.test(`${name} starts what it is for, and never gives up for good`, () => {
    assert.equal(setting(text, "ExecStart"), line);
    assert.match(text, /^\[Unit\]$[^[]*^StartLimitIntervalSec=0$/m);
    assert.equal(setting(text, "Restart"), name === "postern-agent.service" ? "always" : "on-failure");
    assert(Number(setting(text, "RestartSec")) >= 1);
    assert.equal(setting(text, "WantedBy"), "multi-user.target");
  });
}

for (const { name, text } of UNITS.filter((unit) => unit.text !== relay)) {
  Deno.test(`${name} stays up when it is to reload too early`, () => {
    assert.equal(setting(text, "RestartForceExitStatus"), "SIGHUP");
  });
}

Deno.test({
  name: `systemd-analyze verify has nothing to say about the units${noAnalyze}`,
  ignore: noAnalyze !== "",
  async fn(): Promise<void> {
    assert.deepEqual(await verify(), { code: 0, said: "" });
  },
});

Deno.test({
  name: `systemd-analyze verify sees what is wrong in a unit${noAnalyze}`,
  ignore: noAnalyze !== "",
  async fn(): Promise<void> {
    const { said } = await verify((text) => text.replace("\nRestartSec=", "\nRestartSecs="));
    assert.match(said, /postern-server\.service.*RestartSecs/);
    assert.match(said, /postern-commander\.service.*RestartSecs/);
    assert.match(said, /postern-relay\.service.*RestartSecs/);
    assert.match(said, /postern-manage\.service.*RestartSecs/);
    assert.match(said, /postern-agent\.service.*RestartSecs/);
  },
});

Deno.test("postern-server.service runs as its own user, with its state where config.toml has it", () => {
  const { blocklist_dir, status_file } = parse(config);
  assert.equal(setting(server, "User"), "postern");
  assert.equal(setting(server, "Group"), "postern");
  assert.equal(`/var/lib/${setting(server, "StateDirectory")}`, blocklist_dir);
  assert.equal(status_file, `${blocklist_dir}/status.json`);
  assert.equal(setting(server, "StateDirectoryMode"), "0700");
  assert.equal(setting(server, "ExecReload"), "/bin/sh -c 'kill -HUP $MAINPID'");
  assert.equal(setting(server, "CapabilityBoundingSet"), "");
});

for (const { name, text, role } of ALL_UNITS.filter((unit) => unit.text !== commander)) {
  Deno.test(`${name} unpacks as root what unpacks itself, and leaves other executables alone`, async () => {
    const line = setting(text, "ExecStartPre");
    const [, script, executable] = /^-\+\/bin\/sh -c '([^']+)' (\S+)$/.exec(line) ?? [];
    assert(script !== undefined, line);
    assert.equal(executable, `/usr/local/bin/postern-${role}`);
    await using folder = await scratchFolder();
    const unpacked = `${folder.path}/unpacked`;
    const run = async (firstLine: string): Promise<boolean> => {
      const path = `${folder.path}/postern-server`;
      await Deno.writeTextFile(path, `${firstLine}\n[ "$1" != --unpack ] || touch ${unpacked}\n`, {
        mode: 0o755,
      });
      // As systemd reads a line: `$$` is a dollar sign.
      const ended = await runProgram("/bin/sh", ["-c", script.replaceAll("$$", "$"), path]);
      assert.deepEqual(ended, { code: 0, stdout: "", stderr: "" });
      return await Deno.remove(unpacked).then(() => true, () => false);
    };
    assert.equal(await run("#!/bin/sh"), true);
    assert.equal(await run("\x7fELF\x02\x01\x01\0\0\0 #!/bin/sh"), false);
  });
}

Deno.test("postern-relay.service runs as nobody who is known, sees nothing of Postern's, and keeps only its status", () => {
  assert.equal(setting(relay, "DynamicUser"), "yes");
  assert.deepEqual(settings(relay, "(?:User|Group|StateDirectory)"), []);
  const hidden = setting(relay, "InaccessiblePaths").split(" ");
  const { blocklist_dir, commander_state_dir, socket_dir } = parse(config);
  assert.deepEqual(
    hidden,
    ["/etc/postern", blocklist_dir, commander_state_dir, socket_dir].map((path) => `-${path}`),
  );
  const folder = `/run/${setting(relay, "RuntimeDirectory")}`;
  assert(setting(relay, "ExecStart").includes(` --status ${folder}/`));
  assert.equal(setting(relay, "NoExecPaths"), folder);
  assert.equal(setting(relay, "RestrictAddressFamilies"), "AF_INET AF_INET6");
  assert.equal(setting(relay, "CapabilityBoundingSet"), "");
});

Deno.test("postern-relay.service may open as many files as the default limits take, and bounds memory and tasks", async () => {
  const request = await parseLine(["server", "relay"]);
  assert(request.kind === "command");
  assert(Number(setting(relay, "LimitNOFILE")) > openFilesNeeded(relayConfig(request.values).limits));
  assert.equal(setting(relay, "MemoryMax"), "512M");
  assert.equal(setting(relay, "TasksMax"), "64");
  assert.equal(setting(relay, "LimitCORE"), "0");
});

Deno.test("postern-server.service comes after the commander and does without it", () => {
  assert(setting(server, "After").split(" ").includes("postern-commander.service"));
  assert.deepEqual(setting(server, "Wants").split(" "), ["postern-commander.service"]);
  assert.deepEqual(settings(server, "(?:Requires|BindsTo|PartOf|Requisite)"), []);
  // The other way round, a stop of the server would stop commands.
  assert(!commander.includes("postern-server.service"));
});

Deno.test("postern-commander.service has its state and its socket where config.toml has them", () => {
  const { commander_state_dir, socket_dir } = parse(config);
  assert.equal(`/var/lib/${setting(commander, "StateDirectory")}`, commander_state_dir);
  assert.equal(setting(commander, "StateDirectoryMode"), "0700");
  assert.equal(`/run/${setting(commander, "RuntimeDirectory")}`, socket_dir);
  assert.equal(setting(commander, "RuntimeDirectoryMode"), "0755");
  assert.equal(setting(commander, "RuntimeDirectoryPreserve"), "yes");
});

Deno.test("postern-commander.service leaves running commands alone and can find them again", () => {
  assert.equal(setting(commander, "KillMode"), "process");
  assert.equal(setting(commander, "OOMPolicy"), "continue");
  assert.deepEqual(settings(commander, "(?:ProtectProc|ProcSubset|User|PrivatePIDs)"), []);
  const kept = settings(commander, "CapabilityBoundingSet").join(" ").split(" ");
  assert(kept.includes("CAP_KILL") && kept.includes("CAP_SYS_PTRACE"));
});

for (const { name, text } of UNITS) {
  Deno.test(`${name} lets V8 make machine code`, () => {
    assert.deepEqual(settings(text, "MemoryDenyWriteExecute"), []);
    assert.equal(setting(text, "SystemCallErrorNumber"), "EPERM");
  });
}

Deno.test("postern-server.service bounds what a flood can use, and executes nothing that it wrote", () => {
  assert.equal(setting(server, "MemoryMax"), "384M");
  assert.equal(setting(server, "TasksMax"), "64");
  assert.equal(setting(server, "LimitNOFILE"), "4096");
  assert.equal(setting(server, "LimitCORE"), "0");
  assert.equal(setting(server, "NoExecPaths"), `/var/lib/${setting(server, "StateDirectory")}`);
  assert.equal(setting(server, "UMask"), "0077");
});

Deno.test("postern-manage.service keeps its folder to itself, and executes nothing that it wrote", async () => {
  const request = await parseLine(["server", "manage"]);
  assert(request.kind === "command");
  const folder = `/var/lib/${setting(manage, "StateDirectory")}`;
  assert.equal(request.values.requiredText("dir"), folder);
  assert.equal(setting(manage, "StateDirectoryMode"), "0700");
  assert.equal(setting(manage, "NoExecPaths"), folder);
  assert.equal(setting(manage, "User"), "postern-manage");
  assert.equal(setting(manage, "CapabilityBoundingSet"), "");
  assert.equal(setting(manage, "MemoryMax"), "1536M");
  assert(Number(setting(manage, "LimitNOFILE")) > 5_000);
});

Deno.test("postern-agent.service takes with it whatever its sessions started, and is the last to be killed for memory", async () => {
  const request = await parseLine(["commander", "agent"]);
  assert(request.kind === "command");
  assert.equal(request.values.requiredText("dir"), `/var/lib/${setting(agent, "StateDirectory")}`);
  assert.equal(setting(agent, "StateDirectoryMode"), "0700");
  assert.equal(setting(agent, "KillMode"), "control-group");
  assert.equal(setting(agent, "OOMPolicy"), "continue");
  // Ended by whichever signal, from inside a session too, it comes back: nobody else could bring it back from afar.
  assert.equal(setting(agent, "Restart"), "always");
  // A user of run_as needs what a login would give: set-user-id programs, groups, all of the file system.
  assert.deepEqual(settings(agent, "(?:NoNewPrivileges|ProtectSystem|ProtectHome|PrivateUsers)"), []);
});
