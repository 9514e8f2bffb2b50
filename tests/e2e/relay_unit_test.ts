/** The relay's unit on a machine that boots systemd, with the executable that it is made for. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";
import { BootedMachine, bootObstacle } from "../docs/booted_machine.ts";
import { buildObstacle, compile } from "../ship/built_files.ts";
import { unless } from "./machine.ts";
import { TempFolder } from "./temp_folder.ts";
import { until } from "./until.ts";

const PROGRAM = "/usr/local/bin/postern-server";
const UNIT = "postern-relay.service";
const STATUS = "/run/postern-relay/status.json";

/** Two who meet on the machine's own loopback, the first of them over IPv6. */
const MEET = `
exec 3<>/dev/tcp/::1/8080
printf '%-33s' meeting >&3
until grep -q '"parked": 1' ${STATUS}; do sleep 0.1; done
exec 4<>/dev/tcp/127.0.0.1/8080
printf '%-33shello' meeting >&4
head -c 5 <&3
`;

Deno.test({
  ...unless(
    buildObstacle() ?? await bootObstacle(),
    `${UNIT} runs a relay under systemd, as nobody who is known`,
  ),
  timeout: 180_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("relay-unit");
    await Deno.chmod(folder.path, 0o755);
    const out = `${folder.path}/dist`;
    const built = await compile(["--role", "server", "--format", "self-extracting", "--quick", "--out", out]);
    assert.equal(built.code, 0, built.stderr);
    await using machine = await BootedMachine.boot({
      "/mnt/dist": out,
      "/mnt/units": `${repositoryFolder}deploy/systemd`,
    });
    await machine.run(`
      install -m 0755 /mnt/dist/postern-server-${Deno.build.target} ${PROGRAM}
      install -m 0644 /mnt/units/${UNIT} /etc/systemd/system/
      systemctl daemon-reload
      systemctl start ${UNIT}
    `);
    const journal = `journalctl --unit ${UNIT} --output cat --no-pager`;
    const said = await until("it listens", async () => {
      const text = await machine.run(journal);
      return /relay ready/.test(text) ? text : (assert.doesNotMatch(text, /error:/), false);
    }, { timeoutMs: 60_000, pollMs: 200 });
    assert.match(said, /INFO relay: relay ready address=\[::\]:8080 id_bytes=33/);

    assert.equal(await machine.run(`bash -eu -c '${MEET.replaceAll("'", `'\\''`)}'`), "hello");
    // Read by others than the relay's own user, of whom nothing is left when it stops.
    const status = JSON.parse(
      await until("both are gone", async () => {
        const text = await machine.run(`setpriv --reuid=65534 --clear-groups cat ${STATUS}`);
        return /"staples": 0[^]*"stapled_total": 1/.test(text) && text;
      }),
    );
    assert.equal(status.bytes, 5);
    assert.match(await machine.run(`systemctl show --property=User,DynamicUser ${UNIT}`), /DynamicUser=yes/);
    await machine.run(`systemctl stop ${UNIT}`);
    assert.match(
      await machine.run(`systemctl show --property=Result,ExecMainStatus ${UNIT}`),
      /^ExecMainStatus=0$/m,
    );
    assert.match(await machine.run(journal), /relay stopped staples_cut=0 bytes=5/);
    await machine.run("test ! -e /run/postern-relay");
  },
});
