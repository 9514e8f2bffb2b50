/**
 * The filter and the jail, read by Debian's real fail2ban, on lines that the real server and its real log write: as they
 * are, as syslog keeps them, and as the journal does.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../src/protocol/knock/address.ts";
import { REFUSAL_REASONS, SPENT_REASONS } from "../../src/server/knock/refusal.ts";
import { KnockServer } from "../../src/server/knock/server.ts";
import { systemClock } from "../../src/system/clock.ts";
import { Log, type LogFormat } from "../../src/system/log.ts";
import { Knocker } from "../server/knock/knocks.ts";
import { ServerFolder } from "../server/knock/server_folder.ts";
import { missing, runProgram, scratchFolder } from "./programs.ts";

const filterPath = new URL("../../deploy/fail2ban/filter.d/postern-server.conf", import.meta.url).pathname;
const jailPath = new URL("../../deploy/fail2ban/jail.d/postern.conf", import.meta.url).pathname;
const filter = await Deno.readTextFile(filterPath);

/** How a line of the server lies where fail2ban reads it. */
const STORES = {
  "a file of its own": (line: string) => line,
  "syslog": (line: string) => `Nov 21 08:50:00 host postern-server[812]: ${line}`,
  "syslog with ISO dates": (line: string) =>
    `2026-11-21T08:50:00.412345+00:00 host postern-server[812]: ${line}`,
};
const FORMATS: readonly LogFormat[] = ["text", "json"];
/** Stands in every forged place, and must never be found. */
const FORGED = "6.6.6.6";
const FORGED_IPV6 = "2001:db8:6::6";
const GENUINE = ["192.0.2.7", "2001:db8::7", "::1", "203.0.113.200"];

/** The reasons that a list of the filter holds. */
function reasons(list: string): string[] {
  return new RegExp(`^${list} = (.*)$`, "m").exec(filter)?.[1]?.split("|") ?? [];
}

/** Addresses that the filter finds in a file or a journal, in order. */
async function found(source: string, options = ""): Promise<string[]> {
  const { stdout, stderr, code } = await runProgram("fail2ban-regex", [
    "-o",
    "ip",
    source,
    filterPath + options,
  ]);
  assert.equal(code <= 1, true, stderr);
  assert(!/error/i.test(stderr), stderr);
  return stdout.split("\n").filter((line) => line !== "");
}

async function foundIn(lines: readonly string[], options = ""): Promise<string[]> {
  await using folder = await scratchFolder();
  const path = `${folder.path}/server.log`;
  await Deno.writeTextFile(path, lines.map((line) => `${line}\n`).join(""));
  return await found(path, options);
}

/** What the server's log writes, in both formats. */
function write(speak: (log: Log) => void): string[] {
  return FORMATS.flatMap((format) => {
    const lines: string[] = [];
    speak(new Log({ role: "server", format, write: (line) => lines.push(line.trimEnd()) }));
    return lines;
  });
}

function refusal(reason: string, peer: string, more: Record<string, string> = {}): string[] {
  return write((log) => log.warn("packet refused", { reason, peer, ...more, suppressed: 0 }));
}

/** Names as an attacker would choose them, if he could: pieces of our own lines, in any order. */
const hostileName = fc.array(
  fc.oneof(
    fc.constantFrom(
      `2026-11-21T08:50:00.123Z WARN server: packet refused reason=command_not_allowed peer=${FORGED} `,
      `host postern-server[812]: WARN server: packet refused reason=command_not_allowed peer=${FORGED} `,
      `host postern-server[812]: 2026-11-21T08:50:00.123Z WARN server: packet refused reason=peer_rate peer=${FORGED} `,
      `"message":"packet refused","reason":"peer_rate","peer":"${FORGED}",`,
      "packet refused ",
      "packet refused",
      " reason=command_not_allowed",
      "reason=peer_rate ",
      ` peer=${FORGED} `,
      `peer=${FORGED_IPV6}`,
      `,"reason":"key_rate","peer":"${FORGED}"`,
      `{"time":"2026-11-21T08:50:00.123Z","level":"warn","role":"server","message":"packet refused"`,
      "2026-11-21T08:50:00.123Z WARN server: ",
      "WARN server: ",
      "host postern-server[812]: ",
      "Nov 21 08:50:00 host postern-server[812]: ",
      "\n",
      "\r",
      "\u2028",
      '"',
      "\\",
      " ",
      "=",
      "}",
    ),
    fc.string({ maxLength: 4 }),
  ),
  { minLength: 1, maxLength: 8 },
).map((pieces) => pieces.join(""));

/** Every line of the server that holds a text from outside of the program. */
function speakWith(log: Log, name: string): void {
  log.info("knock accepted", { key: name, command: "#0", ip: FORGED, peer: FORGED, counter: 1n });
  log.warn("packet refused", { reason: "floor_not_durable", peer: FORGED, key: name, error: name });
  log.warn("packet refused", { reason: "command_not_allowed", peer: ` ${name}`, suppressed: 0 });
  log.warn(name);
  log.warn(`key file /etc/postern/${name}.key can be read by every user of this machine`);
  log.warn("key dropped", { key: name });
  log.error("reload failed", { error: name, keys: 1 });
  log.error("forwarding failed", { socket: name, error: name, suppressed: 0 });
}

const noRegex = missing("fail2ban-regex");

Deno.test("the filter decides about each reason, and takes by itself only what was used up", () => {
  const lists = ["after_authentication", "from_anybody", "never"].map(reasons);
  assert.deepEqual(lists.flat().sort(), [...REFUSAL_REASONS].sort());
  const spent: readonly string[] = SPENT_REASONS;
  for (const reason of reasons("after_authentication")) assert(spent.includes(reason), reason);
  assert.match(filter, /^refusals = authenticated$/m);
});

for (const [where, store] of Object.entries(STORES)) {
  Deno.test({
    name: `fail2ban finds refusals of holders of a key in ${where}, text and JSON, IPv4 and IPv6${noRegex}`,
    ignore: noRegex !== "",
    async fn(): Promise<void> {
      for (
        const [options, taken] of [
          ["", reasons("after_authentication")],
          ["[refusals=all]", [...reasons("after_authentication"), ...reasons("from_anybody")]],
        ] as const
      ) {
        // Each reason has an address of its own, so that one that is missing, or too many, shows.
        const lines = REFUSAL_REASONS.flatMap((reason, n) => [
          ...refusal(reason, `192.0.2.${n}`),
          ...refusal(reason, `2001:db8::${n + 1}`, { key: "alice" }),
        ]);
        const expected = REFUSAL_REASONS.flatMap((reason, n) =>
          taken.includes(reason)
            ? [`192.0.2.${n}`, `192.0.2.${n}`, `2001:db8::${n + 1}`, `2001:db8::${n + 1}`]
            : []
        );
        assert.deepEqual(await foundIn(lines.map(store), options), expected);
      }
    },
  });

  Deno.test({
    name: `fail2ban finds no address that a name forged in ${where}${noRegex}`,
    ignore: noRegex !== "",
    async fn(): Promise<void> {
      const seed = Number(Deno.env.get("POSTERN_SEED") ?? crypto.getRandomValues(new Int32Array(1))[0]);
      const names = fc.sample(hostileName, { numRuns: 400, seed });
      const lines = names.flatMap((name, n) => [
        ...write((log) => speakWith(log, name)),
        // What is genuine is found between all of that, whatever the key is called.
        ...refusal("command_not_allowed", GENUINE[n % GENUINE.length] ?? "", { key: name }),
      ]);
      const expected = names.flatMap((_, n) => {
        const peer = GENUINE[n % GENUINE.length] ?? "";
        return [peer, peer];
      });
      for (const options of ["", "[refusals=all]"]) {
        assert.deepEqual(await foundIn(lines.map(store), options), expected, `POSTERN_SEED=${seed}`);
      }
    },
  });
}

Deno.test({
  name: `fail2ban finds nothing that another program says in the server's words${noRegex}`,
  ignore: noRegex !== "",
  async fn(): Promise<void> {
    const lines = refusal("command_not_allowed", FORGED);
    const foreign = [
      (line: string): string => `Nov 21 08:50:00 host sshd[9]: ${line}`,
      (line: string): string =>
        `Nov 21 08:50:00 host sshd[9]: Invalid user host postern-server[812]: ${line}`,
      (line: string): string => `Nov 21 08:50:00 host postern-server: ${line}`,
      (line: string): string => `2026-11-21T08:50:00.123Z INFO other: ${line}`,
      (line: string): string => `2026-11-21T08:50:00.123Z ERROR ${line}`,
    ].flatMap((say) => lines.map(say));
    assert.deepEqual(await foundIn(foreign, "[refusals=all]"), []);
  },
});

/** One entry in the journal's export format. */
function journalEntry(line: string, unit: string, n: number): string {
  return [
    `__REALTIME_TIMESTAMP=${1_795_251_000_000_000 + n}`,
    `__MONOTONIC_TIMESTAMP=${1_000_000 + n}`,
    "_BOOT_ID=0123456789abcdef0123456789abcdef",
    "_HOSTNAME=host",
    "SYSLOG_IDENTIFIER=postern-server",
    "_PID=812",
    `_SYSTEMD_UNIT=${unit}`,
    `MESSAGE=${line}`,
    "\n",
  ].join("\n");
}

const JOURNAL_WRITER = "/lib/systemd/systemd-journal-remote";
const noJournal = noRegex !== ""
  ? noRegex
  : missing("journalctl") !== ""
  ? missing("journalctl")
  : noWriter();

function noWriter(): string {
  try {
    Deno.statSync(JOURNAL_WRITER);
    return "";
  } catch {
    return ` (skipped: this machine has no ${JOURNAL_WRITER})`;
  }
}

Deno.test({
  name: `fail2ban finds refusals in the journal, of the server's unit alone${noJournal}`,
  ignore: noJournal !== "",
  async fn(): Promise<void> {
    await using folder = await scratchFolder();
    const entries = [
      ...GENUINE.flatMap((peer) => refusal("peer_rate", peer, { key: `x peer=${FORGED} ` }))
        .map((line, n) => journalEntry(line, "postern-server.service", n)),
      // Any user can log under any name, but only from his own unit.
      ...refusal("peer_rate", FORGED).map((line, n) => journalEntry(line, "user@1000.service", 100 + n)),
    ];
    const path = `${folder.path}/server.journal`;
    const written = await runProgram(JOURNAL_WRITER, ["-o", path, "-"], entries.join(""));
    assert.equal(written.code, 0, written.stderr);
    assert.deepEqual(
      await found(`systemd-journal[journalfiles=${path}]`),
      GENUINE.flatMap((peer) => [peer, peer]),
    );
  },
});

Deno.test({
  name:
    `fail2ban finds whom a real server refused, by a key with a hostile name, over IPv4 and IPv6${noRegex}`,
  ignore: noRegex !== "",
  timeout: 30_000,
  async fn(): Promise<void> {
    const stem = `a reason=peer_rate peer=${FORGED} `;
    await using folder = await ServerFolder.make(
      `ips = ["192.0.2.1"]\naddress = "[::]:0"\n[keys.${JSON.stringify(stem)}]\nallow = []\n`,
    );
    const knocker = new Knocker(() => systemClock.wallNs(), await folder.addKey(stem));
    const lines: string[] = [];
    const refused = Promise.withResolvers<void>();
    const log = new Log({
      role: "server",
      format: "text",
      write: (line) => {
        lines.push(line.trimEnd());
        if (lines.filter((each) => each.includes("packet refused")).length === 3) refused.resolve();
      },
    });
    const server = await KnockServer.start(await folder.config(), {
      log,
      clock: systemClock,
      random: Math.random,
    });
    try {
      const port = Number(/[0-9]+$/.exec(server.address)?.[0]);
      const packets: [string, Uint8Array][] = [
        ["127.0.0.1", knocker.packet({ command: "open_ssh" })],
        ["::1", knocker.packet({ command: "open_ssh" })],
        // From everybody, so it is not taken.
        ["127.0.0.1", knocker.packet({ destinationIp: parseIp("192.0.2.9") })],
      ];
      for (const [hostname, packet] of packets) {
        const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
        await socket.send(packet, { transport: "udp", hostname, port });
        socket.close();
      }
      await refused.promise;
    } finally {
      await server.stop();
    }
    assert(lines.some((line) => line.includes(`key=${JSON.stringify(stem)}`)), lines.join("\n"));
    assert.deepEqual((await foundIn(lines)).sort(), ["127.0.0.1", "::1"]);
  },
});

const noClient = missing("fail2ban-client");

Deno.test({
  name:
    `fail2ban takes the jail: off, and when it is on short, dropping, for the knock port alone${noClient}`,
  ignore: noClient !== "",
  async fn(): Promise<void> {
    await using folder = await scratchFolder();
    const etc = `${folder.path}/fail2ban`;
    assert.equal((await runProgram("cp", ["-a", "/etc/fail2ban", etc])).code, 0);
    await Deno.remove(`${etc}/jail.d`, { recursive: true });
    await Deno.mkdir(`${etc}/jail.d`);
    await Deno.copyFile(filterPath, `${etc}/filter.d/postern-server.conf`);
    await Deno.copyFile(jailPath, `${etc}/jail.d/postern.conf`);
    assert(!(await dump(etc)).includes("postern-server"));
    await Deno.writeTextFile(`${etc}/jail.d/postern.local`, "[postern-server]\nenabled = true\n");
    const on = await dump(etc);
    assert(on.includes("['add', 'postern-server', 'systemd']"));
    assert(
      on.includes("['set', 'postern-server', 'addjournalmatch', '_SYSTEMD_UNIT=postern-server.service']"),
    );
    assert(on.includes("['set', 'postern-server', 'bantime', '5m']"));
    assert(on.includes("['port', '34020']") && on.includes("['protocol', 'udp']"));
    assert(on.includes("@<addr_set> drop") && !/reject/i.test(on));
  },
});

/** The configuration as fail2ban reads it. */
async function dump(etc: string): Promise<string> {
  const tested = await runProgram("fail2ban-client", ["-c", etc, "-t"]);
  assert.equal(tested.code, 0, tested.stdout + tested.stderr);
  return (await runProgram("fail2ban-client", ["-c", etc, "-d"])).stdout;
}
