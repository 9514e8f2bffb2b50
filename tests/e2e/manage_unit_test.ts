/** The units of the manage job on a machine that boots systemd, with the executables that they are made for. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";
import { BootedMachine, bootObstacle } from "../docs/booted_machine.ts";
import { buildObstacle, BuiltFiles } from "../ship/built_files.ts";
import { unless } from "./machine.ts";
import { mark } from "./manage_world.ts";
import { TempFolder } from "./temp_folder.ts";
import { until } from "./until.ts";

const SERVER = "postern-manage.service", AGENT = "postern-agent.service";
const BIN = "/usr/local/bin";
/** Long, since the first start unpacks on a busy machine. */
const START_MS = 60_000;

function journalOf(unit: string): string {
  return `journalctl --unit ${unit} --output cat --no-pager`;
}

/** What a unit has said, when it has said this; a unit that failed has not. */
async function says(machine: BootedMachine, unit: string, pattern: RegExp): Promise<string> {
  return await until(`${unit} says ${pattern}`, async () => {
    const text = await machine.run(journalOf(unit));
    return pattern.test(text) ? text : (assert.doesNotMatch(text, /error:/), false);
  }, { timeoutMs: START_MS, pollMs: 200 });
}

Deno.test({
  ...unless(
    buildObstacle() ?? await bootObstacle(),
    `${SERVER} and ${AGENT} under systemd: a host that has joined is reached, and a stop leaves nothing running`,
  ),
  timeout: 240_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("manage-unit");
    await Deno.chmod(folder.path, 0o755);
    const out = `${folder.path}/dist`;
    await BuiltFiles.build(out);
    await using machine = await BootedMachine.boot({
      "/mnt/dist": out,
      "/mnt/deploy": `${repositoryFolder}deploy`,
    });
    const asServer = `runuser -u postern-manage -- ${BIN}/postern-server manage`;
    await machine.run(`
      for role in client server commander; do
        install -m 0755 /mnt/dist/postern-$role-${Deno.build.target} ${BIN}/postern-$role
      done
      for unit in ${SERVER} ${AGENT}; do install -m 0644 /mnt/deploy/systemd/$unit /etc/systemd/system/; done
      install -m 0644 /mnt/deploy/sysusers.d/postern-manage.conf /usr/lib/sysusers.d/
      install -m 0644 /mnt/deploy/tmpfiles.d/postern-manage.conf /usr/lib/tmpfiles.d/
      systemd-sysusers && systemd-tmpfiles --create
      ${BIN}/postern-server --unpack
      ${asServer} init --address 127.0.0.1:7022
      systemctl daemon-reload
      systemctl start ${SERVER}
    `);
    await says(machine, SERVER, /management server ready.* address=\[::\]:7022/);
    assert.match(await machine.run(`systemctl show --property=User ${SERVER}`), /^User=postern-manage$/m);

    // As the comments of the units say it.
    await machine.run(`
      ${asServer} invite host web1 | ${BIN}/postern-commander agent --join -
      systemctl start ${AGENT}
      ${asServer} invite admin alice | ${BIN}/postern-client join -
    `);
    await says(machine, AGENT, /linked to the server/);
    assert.equal(await machine.run(`${BIN}/postern-client exec web1 -- echo reached`), "reached\n");
    assert.match(await machine.run(`systemctl is-active ${SERVER} ${AGENT}`), /^active\nactive\n$/);
    // The folders are nobody else's.
    assert.equal(
      await machine.run("stat -c '%U %a' /var/lib/postern-manage /var/lib/postern-agent"),
      "postern-manage 700\nroot 700\n",
    );

    // A reload keeps the links, and reads the policy at once.
    await machine.run(`
      sed -i 's/^actions = .*/actions = ["exec"]/; s/^targets = .*//' /var/lib/postern-manage/policy.toml
      systemctl reload ${SERVER}
    `);
    await says(machine, SERVER, /policy/);
    const shell = await machine.attempt(`${BIN}/postern-client shell web1 < /dev/null`);
    assert.equal(shell.code, 255, shell.stderr);
    assert.match(shell.stderr, /^error: the server refuses: /m);
    assert.equal(await machine.run(`${BIN}/postern-client exec web1 -- echo again`), "again\n");
    assert.equal((await machine.run(journalOf(AGENT))).match(/linked to the server/g)?.length, 1);

    // What has left its session, as a daemon does, ends with the unit.
    const sleep = `sleep ${mark()}`;
    await machine.run(`${BIN}/postern-client exec web1 -- sh -c 'setsid nohup ${sleep} > /dev/null 2>&1 &'`);
    await machine.run(`pgrep -x -f '${sleep}'`);
    await machine.run(`systemctl stop ${AGENT}`);
    assert.equal((await machine.attempt(`pgrep -x -f '${sleep}'`)).code, 1, "it runs on");
    const away = await machine.attempt(`${BIN}/postern-client exec web1 -- true`);
    assert.equal(away.code, 255);
    assert.match(away.stderr, /^error: web1 is offline since /m);

    await machine.run(`systemctl stop ${SERVER}`);
    for (const unit of [SERVER, AGENT]) {
      assert.match(
        await machine.run(`systemctl show --property=Result,ExecMainStatus ${unit}`),
        /^Result=success\nExecMainStatus=0$|^ExecMainStatus=0\nResult=success$/m,
        unit,
      );
    }
    assert.match(await machine.run(`${asServer} audit --verify`), /./);
  },
});
