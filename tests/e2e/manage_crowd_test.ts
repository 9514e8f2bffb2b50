/** A small crowd of hosts over real TLS, as the bench makes a large one: they come, they are known, they come back. */
import assert from "node:assert/strict";
import { HostCrowd } from "../../bench/manage/crowd.ts";
import { dataFolder } from "../../src/server/manage/data_folder.ts";
import { Registry } from "../../src/server/manage/registry.ts";
import { until } from "./until.ts";

const HOSTS = 200;
const TIMEOUT_MS = 60_000;

Deno.test({
  name:
    `a server holds ${HOSTS} hosts that come at once from one address, and has all of them back after a restart`,
  timeout: 3 * TIMEOUT_MS,
  async fn(): Promise<void> {
    await using crowd = await HostCrowd.make({ hosts: HOSTS, processes: 1 });
    await crowd.come();
    await allAreThere(crowd);
    await crowd.restartServer("SIGKILL");
    await until("the hosts have missed the server", () => crowd.linked < HOSTS, { timeoutMs: TIMEOUT_MS });
    await allAreThere(crowd);
  },
});

/** As they see it, and as the registry has it. */
async function allAreThere(crowd: HostCrowd): Promise<void> {
  await until(`${HOSTS} hosts are linked`, () => crowd.linked === HOSTS, { timeoutMs: TIMEOUT_MS });
  using registry = await Registry.open(dataFolder(crowd.lab.serverDir));
  const online = (): number => registry.hosts().filter((host) => host.online).length;
  await until("the registry has all of them online", () => online() === HOSTS, { timeoutMs: TIMEOUT_MS });
  const refused = [...crowd.failures.keys()].filter((reason) =>
    /refused|authentication|in_use|register/.test(reason)
  );
  assert.deepEqual(refused.filter((reason) => !reason.startsWith("ConnectionRefused")), []);
}
