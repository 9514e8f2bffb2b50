import assert from "node:assert/strict";
import { commandHash } from "../../../src/protocol/knock/command_hash.ts";
import { parseServerConfig } from "../../../src/server/knock/config.ts";
import type { ServerConfig } from "../../../src/server/knock/config.ts";
import { formatListenAddress, parseListenAddress } from "../../../src/server/knock/listen_address.ts";
import { Failure } from "../../../src/system/failure.ts";
import { parseTomlSource } from "../../../src/system/toml_file.ts";

const PATH = "/etc/postern/config.toml";

function parse(text: string): ServerConfig {
  return parseServerConfig(parseTomlSource(PATH, text));
}

function messageOf(text: string): string {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof Failure, String(error));
    return error.message;
  }
  return "no error";
}

Deno.test("parseServerConfig() fills everything but ips with the defaults of ruroco", () => {
  const { source: _, ...config } = parse(`ips = ["127.0.0.1"]`);
  assert.deepEqual(config, {
    configPath: PATH,
    ips: new Set(["127.0.0.1"]),
    address: { ip: "::", port: 34020 },
    configDir: "/etc/postern",
    blocklistDir: "/etc/postern",
    socketDir: "/etc/postern",
    floorsPath: "/etc/postern/blocklist.msgpck",
    lockPath: "/etc/postern/postern-server.lock",
    socketPath: "/etc/postern/ruroco.socket",
    commanderStateDir: "/etc/postern/commander-state",
    statusPath: null,
    maxRequestsPerSecond: 2,
    maxRequestsPerSecondGlobal: 100,
    maxClockSkewSeconds: 3600,
    maxPacketAgeSeconds: 0,
    grants: new Map(),
    warnings: [],
  });
});

Deno.test("parseServerConfig() takes the full config.toml of a ruroco installation as it is", () => {
  const config = parse(`
ips = ["203.0.113.5", "::ffff:198.51.100.1", "2001:DB8::0001"]   # public addresses of this server
address = "[::]:8080"
config_dir = "/etc/ruroco/"
blocklist_dir = "/var/lib/ruroco"
socket_dir = "/run/ruroco"
socket_user = "ruroco"
socket_group = "ruroco"
max_requests_per_second = 5
max_requests_per_second_global = 1_000
max_clock_skew_seconds = 60
allow_non_routable_ips = true
ntp = "system"
`);
  assert.deepEqual(config.warnings, []);
  assert.deepEqual(config.ips, new Set(["203.0.113.5", "198.51.100.1", "2001:db8::1"]));
  assert.deepEqual(config.address, { ip: "::", port: 8080 });
  assert.equal(config.configDir, "/etc/ruroco");
  assert.equal(config.floorsPath, "/var/lib/ruroco/blocklist.msgpck");
  assert.equal(config.socketPath, "/run/ruroco/ruroco.socket");
  assert.equal(config.maxRequestsPerSecond, 5);
  assert.equal(config.maxRequestsPerSecondGlobal, 1000);
  assert.equal(config.maxClockSkewSeconds, 60);
});

Deno.test("parseServerConfig() takes our own keys", () => {
  const config = parse(`
ips = ["127.0.0.1"]
max_packet_age_seconds = 300
status_file = "/run/postern/status.json"
commander_state_dir = "/var/lib/postern-commander"
max_leases = 10
[keys.phone]
allow = ["open_ssh", "#9b93083959d8550a", "#9B93083959D8550A"]
max_packet_age_seconds = 30
not_after = 2027-01-31T18:00:00+01:00
[keys."my laptop"]
allow = []
disabled = true
`);
  assert.deepEqual(config.warnings, []);
  assert.equal(config.maxPacketAgeSeconds, 300);
  assert.equal(config.statusPath, "/run/postern/status.json");
  assert.deepEqual(
    config.grants,
    new Map([
      ["phone", {
        allow: new Set([commandHash("open_ssh"), 0x9b93083959d8550an]),
        maxPacketAgeSeconds: 30,
        notAfterMs: Date.UTC(2027, 0, 31, 17),
        disabled: false,
      }],
      ["my laptop", { allow: new Set(), maxPacketAgeSeconds: null, notAfterMs: null, disabled: true }],
    ]),
  );
});

Deno.test("parseServerConfig() resolves relative folders against the current one", () => {
  const config = parse(`ips = []\nconfig_dir = "."\nblocklist_dir = "state/../floors"`);
  assert.equal(config.configDir, Deno.cwd());
  assert.equal(config.floorsPath, `${Deno.cwd()}/floors/blocklist.msgpck`);
});

Deno.test("parseServerConfig() warns of an empty ips list and of unknown keys, with a suggestion", () => {
  const config = parse(
    `ips = []\nmax_request_per_second = 3\nblockist_dir = "/x"\nfoo = 1\n[commands]\na = "b"`,
  );
  assert.deepEqual(config.warnings, [
    `${PATH}:2: max_request_per_second: unknown key, ignored (did you mean max_requests_per_second?)`,
    `${PATH}:3: blockist_dir: unknown key, ignored (did you mean blocklist_dir?)`,
    `${PATH}:4: foo: unknown key, ignored`,
    `${PATH}:5: commands: ignored, commands belong in commands.toml`,
    `${PATH}: ips is empty, so every packet is refused`,
  ]);
});

const IPS = 'accepted is a list of IPv4 and IPv6 addresses, such as ["192.0.2.1", "2001:db8::1"]';
const ADDRESS = "accepted is an IP literal with a port, such as [::]:80, 0.0.0.0:80 or 127.0.0.1:0";
const PATHS = "accepted is a path without a comma (the sandbox separates paths by commas)";
const ALLOW = 'accepted is a list of command names or hashes, such as ["open_ssh", "#9b93083959d8550a"]';
const NOT_AFTER = "accepted is a date and time with a zone and without quotes, such as 2027-01-31T18:00:00Z";
const STATE_DIR = "accepted is one without files of the server (keys, replay floors, socket)";
const FIELDS = "accepted are allow, max_packet_age_seconds, not_after, disabled";

/** Text of the file, and the whole error. The second line is where ips stand when the first is under test. */
const refusals: readonly [text: string, message: string][] = [
  [``, `${PATH}: ips: found nothing, ${IPS}`],
  [`ips = "127.0.0.1"`, `${PATH}:1: ips: found "127.0.0.1", ${IPS}`],
  [`ips = [1]`, `${PATH}:1: ips: found 1 in the list, ${IPS}`],
  [`ips = ["10.0.0.1/8"]`, `${PATH}:1: ips: found "10.0.0.1/8" in the list, ${IPS}`],
  [`ips = ["host.example"]`, `${PATH}:1: ips: found "host.example" in the list, ${IPS}`],
  [`ips = []\naddress = "host:80"`, `${PATH}:2: address: found "host:80", ${ADDRESS}`],
  [`ips = []\naddress = "::1:80"`, `${PATH}:2: address: found "::1:80", ${ADDRESS}`],
  [`ips = []\naddress = 80`, `${PATH}:2: address: found 80, ${ADDRESS}`],
  [`ips = []\nconfig_dir = "/a,b"`, `${PATH}:2: config_dir: found "/a,b", ${PATHS}`],
  [`ips = []\nblocklist_dir = ""`, `${PATH}:2: blocklist_dir: found "", ${PATHS}`],
  [`ips = []\nsocket_dir = ["/run"]`, `${PATH}:2: socket_dir: found a list of 1, ${PATHS}`],
  [`ips = []\nstatus_file = false`, `${PATH}:2: status_file: found false, ${PATHS}`],
  [
    `ips = []\nmax_requests_per_second = -1`,
    `${PATH}:2: max_requests_per_second: found -1, accepted is a whole number from 0 to 1000000`,
  ],
  [
    `ips = []\nmax_requests_per_second_global = 1.5`,
    `${PATH}:2: max_requests_per_second_global: found 1.5, accepted is a whole number from 0 to 1000000`,
  ],
  [
    `ips = []\nmax_clock_skew_seconds = "3600"`,
    `${PATH}:2: max_clock_skew_seconds: found "3600", accepted is a whole number from 0 to 3162240000`,
  ],
  [
    `ips = []\nmax_packet_age_seconds = inf`,
    `${PATH}:2: max_packet_age_seconds: found Infinity, accepted is a whole number from 0 to 3162240000`,
  ],
  [
    `ips = []\n[key.phone]\nallow = []`,
    `${PATH}:2: key: found an unknown table, accepted is [keys.<file stem>] (did you mean keys?)`,
  ],
  [
    `ips = []\ncommander_state_dir = "/etc/postern"`,
    `${PATH}:2: commander_state_dir: found the folder /etc/postern, ${STATE_DIR}`,
  ],
  [
    `ips = []\nblocklist_dir = "/var/lib/p/floors"\ncommander_state_dir = "/var/lib/p"`,
    `${PATH}:3: commander_state_dir: found the folder /var/lib/p, ${STATE_DIR}`,
  ],
  [`ips = []\nkeys = 1`, `${PATH}:2: keys: found 1, accepted is a table`],
  [`ips = []\n[keys]\nphone = true`, `${PATH}:3: keys.phone: found true, accepted is a table`],
  [
    `ips = []\n[keys.phone]\nalow = []`,
    `${PATH}:3: keys.phone.alow: found an unknown field, ${FIELDS} (did you mean allow?)`,
  ],
  [`ips = []\n[keys.phone]\nsecret = "x"`, `${PATH}:3: keys.phone.secret: found an unknown field, ${FIELDS}`],
  [`ips = []\n[keys.phone]\nallow = "open"`, `${PATH}:3: keys.phone.allow: found "open", ${ALLOW}`],
  [`ips = []\n[keys.phone]\nallow = [1]`, `${PATH}:3: keys.phone.allow: found 1 in the list, ${ALLOW}`],
  [
    `ips = []\n[keys.phone]\nallow = ["#12"]`,
    `${PATH}:3: keys.phone.allow: found "#12" in the list, accepted is # and 16 hexadecimal digits`,
  ],
  [
    `ips = []\n[keys.phone]\ndisabled = 1`,
    `${PATH}:3: keys.phone.disabled: found 1, accepted is true or false`,
  ],
  [
    `ips = []\n[keys.phone]\nmax_packet_age_seconds = -5`,
    `${PATH}:3: keys.phone.max_packet_age_seconds: found -5, accepted is a whole number from 0 to 3162240000`,
  ],
  [
    `ips = []\n[keys.phone]\nnot_after = "2027-01-31T18:00:00Z"`,
    `${PATH}:3: keys.phone.not_after: found "2027-01-31T18:00:00Z", ${NOT_AFTER}`,
  ],
  [
    `ips = []\n[keys.phone]\nnot_after = 2027-01-31T18:00:00`,
    `${PATH}:3: keys.phone.not_after: found 2027-01-31T18:00:00.000 without a zone, ${NOT_AFTER}`,
  ],
  [
    `ips = []\n[keys.phone]\nnot_after = 2027-01-31`,
    `${PATH}:3: keys.phone.not_after: found 2027-01-31 without a zone, ${NOT_AFTER}`,
  ],
];

for (const [text, message] of refusals) {
  Deno.test(`parseServerConfig() refuses ${JSON.stringify(text)} naming file, line and key`, () => {
    assert.equal(messageOf(text), message);
  });
}

Deno.test("parseListenAddress() takes IP literals with a port and nothing else", () => {
  const accepted = ["[::]:80", "0.0.0.0:80", "127.0.0.1:0", "[2001:db8::1]:65535"];
  for (const text of accepted) {
    const address = parseListenAddress(text);
    assert.ok(address !== null, text);
    assert.equal(formatListenAddress(address), text);
  }
  const refused = [
    "",
    ":80",
    "80",
    "localhost:80",
    "::1:80",
    "[::1]",
    "[::1]:",
    "[127.0.0.1]:80",
    "1.2.3.4:65536",
  ];
  refused.push("1.2.3.4:-1", "1.2.3.4:+1", "01.2.3.4:1", "[fe80::1%eth0]:80", "1.2.3.4:80 ", "1.2.3.4:0x50");
  for (const text of refused) assert.equal(parseListenAddress(text), null, text);
});
