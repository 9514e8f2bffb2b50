/** The management server and the agent of docs/deploy.md, on a machine that boots systemd, by executable. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";
import { unless } from "../e2e/machine.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { until } from "../e2e/until.ts";
import { buildObstacle, BuiltFiles } from "../ship/built_files.ts";
import { BootedMachine, bootObstacle } from "./booted_machine.ts";
import { PageSteps } from "./page.ts";

const PAGE = "docs/deploy.md";
const CHECKOUT = "/opt/checkout";

Deno.test({
  ...unless(
    buildObstacle() ?? await bootObstacle(),
    `${PAGE}: a management server and an agent are installed as services, and a program runs`,
  ),
  timeout: 240_000,
  async fn(): Promise<void> {
    const steps = await PageSteps.read(PAGE);
    await using folder = await TempFolder.make("manage-units");
    await Deno.chmod(folder.path, 0o755);
    const release = await BuiltFiles.build(`${folder.path}/dist`);
    await using machine = await BootedMachine.boot({
      [`${CHECKOUT}/dist`]: release.folder,
      [`${CHECKOUT}/deploy`]: `${repositoryFolder}deploy`,
    });
    await machine.run("echo '127.0.0.1 manage.example' >> /etc/hosts; umask 077; mkdir /root/at");
    const type = (step: string): Promise<string> => {
      const text = steps.take(step).replaceAll("x86_64-unknown-linux-gnu", Deno.build.target);
      return machine.run(text.replaceAll("web1.token", "/root/at/web1.token"), { cwd: CHECKOUT });
    };
    const says = (unit: string, pattern: RegExp): Promise<true> =>
      until(`${unit} says ${pattern}`, async () => {
        const journal = await machine.run(`journalctl --unit ${unit} --output cat --no-pager`);
        assert.doesNotMatch(journal, /error:|Failed/);
        return pattern.test(journal) || undefined;
      }, { timeoutMs: 60_000, pollMs: 200 });

    await type("manage-server");
    await says("postern-manage", /management server ready address=\[::\]:7022/);
    await type("manage-invite");
    await type("manage-agent");
    await says("postern-agent", /linked to the server name=web1/);
    await machine.run(
      `ln -s ${CHECKOUT}/dist/postern-client-${Deno.build.target} /usr/local/bin/postern-client`,
    );
    assert.match(await type("manage-me"), /web1 +online .* prod[\s\S]*\nroot\n$/);

    const server = await machine.run("systemctl show --property=User,MainPID postern-manage");
    assert.match(server, /User=postern-manage/);
    assert.equal(await machine.run("stat -c '%U %a' /var/lib/postern-manage"), "postern-manage 700\n");
    await machine.run("systemctl stop postern-agent postern-manage");
    assert.match(
      await machine.run("systemctl show --property=Result,ExecMainStatus postern-manage postern-agent"),
      /^(?:Result=success\nExecMainStatus=0\n*){2}$|^(?:ExecMainStatus=0\nResult=success\n*){2}$/,
    );
  },
});
