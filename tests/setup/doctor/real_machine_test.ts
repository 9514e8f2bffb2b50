/**
 * The doctors as programs, with exactly their own permissions, over a server and a commander that really run; and over
 * what is left of them.
 */
import assert from "node:assert/strict";
import {
  type LabFiles,
  repositoryFolder,
  startCommander,
  startServer,
  writeLabFiles,
} from "../../../scripts/lab.ts";
import type { LoggedProcess } from "../../../scripts/process.ts";
import { formatKey, generateKey } from "../../../src/protocol/knock/key.ts";
import { loadServerConfig } from "../../../src/server/knock/config.ts";
import {
  clientDoctorPermissions,
  commanderDoctorPermissions,
  serverDoctorPermissions,
} from "../../../src/setup/doctor/doctor_permissions.ts";
import type { Finding } from "../../../src/setup/doctor/finding.ts";
import { permissionFlags, type PermissionGrant, permissionSet } from "../../../src/system/permissions.ts";
import { succeeds, unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { ntpAnswer, NtpDouble } from "./ntp_double.ts";

const IS_ROOT = Deno.uid() === 0;
const obstacle = !IS_ROOT ? "needs root" : await succeeds("ss", ["-V"]) ? null : "needs ss of iproute2";

interface Report {
  readonly code: number;
  readonly stderr: string;
  readonly findings: readonly Finding[];
  readonly problems: number;
}

async function runDoctor(
  grants: readonly PermissionGrant[],
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<Report> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...permissionFlags(permissionSet(grants)), "main.ts", ...words, "--json"],
    cwd: repositoryFolder,
    env,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout);
  assert(!text.includes("hunter2"), text);
  assert.equal(text.trim().split("\n").length, 1, `${text}${decoder.decode(stderr)}`);
  const { findings, problems } = JSON.parse(text);
  assert.equal(code, problems > 0 ? 1 : 0, text);
  return { code, stderr: decoder.decode(stderr), findings, problems };
}

async function serverDoctor(files: LabFiles): Promise<Report> {
  const config = await loadServerConfig(files.configPath);
  const grants = serverDoctorPermissions({ timeFrom: "", offline: true, config });
  return await runDoctor(grants, ["server", "doctor", "-c", files.configPath, "--offline"]);
}

async function commanderDoctor(files: LabFiles): Promise<Report> {
  const { socketPath } = await loadServerConfig(files.configPath);
  return await runDoctor(commanderDoctorPermissions({ socketPath }), [
    "commander",
    "doctor",
    "-c",
    files.configPath,
  ]);
}

function wrong({ findings }: Report): Finding[] {
  return findings.filter(({ state }) => state === "problem");
}

function expectProblem(report: Report, check: string, found: RegExp): void {
  assert(
    wrong(report).some((each) => each.check === check && found.test(each.what)),
    JSON.stringify(wrong(report)),
  );
}

/** A port that is free now. */
function freePort(): number {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const { addr } = socket;
  socket.close();
  return "port" in addr ? addr.port : assert.fail("a UDP socket has a port");
}

async function setUp(folder: string): Promise<LabFiles> {
  const files = await writeLabFiles(folder, {
    address: `127.0.0.1:${freePort()}`,
    commands: () => '[commands]\npostern_check = "true"\nother = "echo hunter2"\n',
    config: '[keys.postern-check]\nallow = ["postern_check"]\n',
  });
  await Deno.writeTextFile(`${folder}/etc/postern-check.key`, formatKey(generateKey()), { mode: 0o600 });
  return files;
}

Deno.test({
  ...unless(obstacle, "the doctors find no problem in a server that runs, and a real knock proves it"),
  timeout: 60_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("doctor");
    const files = await setUp(folder.path);
    await using _commander = await startCommander(files);
    const { process } = await startServer(files);
    await using _server = process;
    const server = await serverDoctor(files);
    assert.deepEqual(wrong(server), []);
    const unseen = server.findings.filter(({ state }) => state === "not checked").map(({ check }) => check);
    assert.deepEqual(
      unseen.filter((check) => !["service", "receive buffer", "firewall", "clock"].includes(check)),
      [],
    );
    const proof = server.findings.find(({ check }) => check === "proof");
    assert.deepEqual(proof?.state, "ok", JSON.stringify(proof));
    assert(server.findings.some(({ check, what }) => check === "port" && /runs as root/.test(what)));
    assert.deepEqual(wrong(await commanderDoctor(files)), []);
  },
});

Deno.test({
  ...unless(obstacle, "the doctors name what was killed, taken, and left behind"),
  timeout: 60_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("doctor");
    const files = await setUp(folder.path);
    const { address } = await loadServerConfig(files.configPath);

    const commander: LoggedProcess = await startCommander(files);
    const { process } = await startServer(files);
    await commander.stop("SIGKILL");
    expectProblem(await serverDoctor(files), "commander socket", /nobody listens on .*ruroco\.socket/);
    expectProblem(await commanderDoctor(files), "socket", /left by a commander that is gone/);
    expectProblem(await serverDoctor(files), "proof", /could not reach the commander/);
    await process.stop("SIGKILL");
    expectProblem(await serverDoctor(files), "port", /nobody listens on UDP/);

    const other = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: address.port });
    try {
      expectProblem(await serverDoctor(files), "port", new RegExp(`taken by .*pid ${Deno.pid}`));
    } finally {
      other.close();
    }
    await Deno.writeFile(`${folder.path}/state/blocklist.msgpck`, new Uint8Array([0xc1]));
    expectProblem(await serverDoctor(files), "replay floors", /damaged/);
    await Deno.chmod(files.commandsPath, 0o660);
    expectProblem(await commanderDoctor(files), "commands", /mode 0660/);
    await Deno.remove(`${folder.path}/state`, { recursive: true });
    expectProblem(await serverDoctor(files), "state folder", /is not there/);
    await Deno.remove(files.configPath);
    const grants = serverDoctorPermissions({ timeFrom: "", offline: true });
    const bare = await runDoctor(grants, ["server", "doctor", "-c", files.configPath, "--offline"]);
    expectProblem(bare, "configuration", /there is no/);
  },
});

Deno.test({
  name: "client doctor reads real files and asks a real NTP server",
  timeout: 30_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("doctor");
    const key = formatKey(generateKey());
    const keyPath = `${folder.path}/user.key`;
    await Deno.writeTextFile(keyPath, key, { mode: 0o600 });
    await Deno.mkdir(`${folder.path}/conf`, { mode: 0o700 });
    await Deno.writeFile(`${folder.path}/conf/counter`, new Uint8Array(15), { mode: 0o600 });
    for (const [aheadMs, state] of [[0, "ok"], [-3 * 3_600_000, "problem"]] as const) {
      await using ntp = new NtpDouble((request) => [ntpAnswer(request, { aheadMs })]);
      const grants = clientDoctorPermissions({
        address: "127.0.0.1:34020",
        timeFrom: ntp.address,
        offline: false,
      });
      const words = ["client", "doctor", "-a", "127.0.0.1:34020", "-K", keyPath, "--time-from", ntp.address];
      const report = await runDoctor(grants, words, { POSTERN_CONF_DIR: `${folder.path}/conf` });
      assert.equal(
        report.findings.find(({ check }) => check === "clock")?.state,
        state,
        JSON.stringify(report),
      );
      expectProblem(report, "counter", /found 15 bytes, accepted are 16/);
      assert.equal(report.findings.find(({ check }) => check === "key")?.state, "ok");
      assert(!JSON.stringify(report).includes(key));
    }
  },
});

Deno.test("no doctor may write anything, but for the socket that it connects to", () => {
  const socketPath = "/run/postern/ruroco.socket";
  const address = { ip: "::" as never, port: 34_020 };
  const all = [
    clientDoctorPermissions({ address: "host.example", timeFrom: "pool.ntp.org", offline: false }),
    serverDoctorPermissions({ timeFrom: "pool.ntp.org", offline: false, config: { address, socketPath } }),
    commanderDoctorPermissions({ socketPath }),
  ];
  assert.deepEqual(all.map((grants) => permissionSet(grants).write), [undefined, [socketPath], [socketPath]]);
  for (const grants of all) {
    const { run } = permissionSet(grants);
    assert(Array.isArray(run) && run.every((path) => path.startsWith("/")), String(run));
  }
  assert.deepEqual(permissionSet(all[0] ?? []).net, [
    "pool.ntp.org:123",
    "0.0.0.0:0",
    "[::]:0",
    "host.example",
  ]);
});

Deno.test("a doctor without a permission says what he did not look at", { timeout: 20_000 }, async () => {
  const report = await runDoctor([], ["client", "doctor", "-a", "localhost:34020", "-K", "user.key"]);
  assert.equal(report.problems, 0);
  const states = new Map(report.findings.map(({ check, state }) => [check, state]));
  for (const check of ["clock", "name", "route", "key", "counter"]) {
    assert.equal(states.get(check), "not checked");
  }
  assert(report.findings.some(({ fix }) => /postern permissions/.test(fix ?? "")));
});
