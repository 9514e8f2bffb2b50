import assert from "node:assert/strict";
import { hostChanges, hostTable, listHosts, watchHosts } from "../../../src/client/manage/hosts.ts";
import type { HostRow } from "../../../src/protocol/manage/control_contract.ts";
import { Failure } from "../../../src/system/failure.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";
import { manageStage } from "./manage_stage.ts";

const AT = new Date(2026, 10, 21, 9, 5, 7).getTime();

function row(name: string, more: Partial<HostRow> = {}): HostRow {
  return {
    name,
    tags: ["prod"],
    sinceMs: AT,
    online: true,
    latencyMs: 1.26,
    version: "1.0.0",
    system: "linux x86_64",
    sessions: 0,
    ...more,
  };
}

const ROWS: readonly HostRow[] = [
  row("db1", { sessions: 12, tags: ["prod", "eu"] }),
  row("new1", { online: false, sinceMs: null, latencyMs: null, version: null, system: null, tags: [] }),
  row("webserver1", { online: false, latencyMs: null }),
];

Deno.test("hostTable() aligns its columns", () => {
  assert.deepEqual(hostTable(ROWS, { isColoured: false }), [
    "NAME        STATE    SINCE                LATENCY  TAGS     VERSION  SESSIONS",
    "db1         online   2026-11-21 09:05:07  1.3 ms   prod,eu  1.0.0    12",
    "new1        never    -                    -        -        -        0",
    "webserver1  offline  2026-11-21 09:05:07  -        prod     1.0.0    0",
  ]);
});

Deno.test("hostTable() colours states alone, and aligns all the same", () => {
  const plain = hostTable(ROWS, { isColoured: false });
  const coloured = hostTable(ROWS, { isColoured: true });
  assert(coloured[1]?.includes("\x1b[32monline \x1b[0m"));
  assert(coloured[3]?.includes("\x1b[31moffline\x1b[0m"));
  // deno-lint-ignore no-control-regex -- what is looked for
  assert.deepEqual(coloured.map((line) => line.replace(/\x1b\[\d+m/g, "")), plain);
});

Deno.test("hostChanges() has a line for each host that has changed, and one for each that is gone", () => {
  assert.deepEqual(hostChanges([], ROWS), [
    "db1 online since 2026-11-21 09:05:07, 12 sessions",
    "new1 never, 0 sessions",
    "webserver1 offline since 2026-11-21 09:05:07, 0 sessions",
  ]);
  const after = [
    row("db1", { sessions: 1, latencyMs: 70 }),
    row("webserver1", { online: false, latencyMs: 3 }),
  ];
  assert.deepEqual(hostChanges(ROWS, after), [
    "db1 online since 2026-11-21 09:05:07, 1 session",
    "new1 is not listed any more",
  ]);
  assert.deepEqual(hostChanges(after, after), []);
});

Deno.test("hostTable() survives a moment that no calendar holds", () => {
  assert.match(
    hostTable([row("web1", { sinceMs: 9e15 })], { isColoured: false })[1] ?? "",
    /an unknown time/,
  );
});

Deno.test("listHosts() gives the hosts in the order of their names", async () => {
  await using on = await manageStage();
  for (const name of ["web2", "db1", "web1"]) await on.server.host(name);
  const rows = await listHosts(await on.connect(), on);
  assert.deepEqual(rows.map(({ name }) => name), ["db1", "web1", "web2"]);
});

Deno.test("watchHosts() shows every change until it is given up", async () => {
  await using on = await manageStage();
  await on.server.host("web1");
  const giveUp = new AbortController(), seen: string[] = [];
  const link = await on.connect();
  await watchHosts(link, { onNotice: on.onNotice, signal: giveUp.signal }, (rows) => {
    seen.push(rows.map(({ name }) => name).join());
    if (seen.length > 1) return giveUp.abort();
    void on.server.host("db1").then(() => on.server.hostsChanged());
  });
  assert.deepEqual(seen, ["web1", "db1,web1"]);
});

Deno.test("watchHosts() says why the link is lost", async () => {
  await using on = await manageStage();
  const link = await on.connect();
  const watching = watchHosts(link, on, () => {
    on.server.links[0]?.link.close("shutting_down", "the server is restarted");
  });
  await assert.rejects(watching, (error: unknown) => {
    assert(error instanceof Failure);
    assert.match(error.message, /the server is restarted/);
    return true;
  });
});

Deno.test("listHosts() and watchHosts() wait ten seconds for the server, and say after one what for", async () => {
  await using on = await manageStage();
  on.server.isMute = true;
  const real = await on.connect();
  const watch: typeof listHosts = async (link, how) => {
    await watchHosts(link, how, () => assert.fail("nothing comes"));
    return [];
  };
  for (const ask of [listHosts, watch]) {
    const timers = new FakeTimers(), notices: string[] = [];
    const onNotice = (line: string): void => void notices.push(line);
    const failed = assert.rejects(ask({ ...real, timers }, { onNotice }), {
      message: "waited 10 s in vain for the list of hosts",
    });
    await timers.pass(1_000);
    assert.deepEqual(notices, ["waiting for the list of hosts, 10 s at most"]);
    await timers.pass(9_000);
    await failed;
  }
});
