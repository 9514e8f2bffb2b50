import assert from "node:assert/strict";
import fc from "fast-check";
import { ipFromBytes } from "../../src/protocol/knock/address.ts";
import { parseServerConfig } from "../../src/server/knock/config.ts";
import { refusedAddressKind } from "../../src/commander/knock/address_filter.ts";
import { parseIps } from "../../src/setup/addresses.ts";
import { configText } from "../../src/setup/config_text.ts";
import {
  CHECK_KEY_NAME,
  COMMANDER_STATE_DIR,
  CONFIG_PATH,
  SERVER_STATE_DIR,
  SOCKET_DIR,
  STATUS_PATH,
} from "../../src/setup/layout.ts";
import { parseTomlSource } from "../../src/system/toml_file.ts";
import { holds } from "../property.ts";

Deno.test("configText() reads back as the addresses, the port and the standard layout", () => {
  const config = parseServerConfig(
    parseTomlSource(CONFIG_PATH, configText(parseIps("9.9.9.9,2620:fe::9"), 4711)),
  );
  assert.deepEqual([...config.ips], ["9.9.9.9", "2620:fe::9"]);
  assert.deepEqual(config.address, { ip: "::", port: 4711 });
  assert.equal(config.blocklistDir, SERVER_STATE_DIR);
  assert.equal(config.socketDir, SOCKET_DIR);
  assert.equal(config.commanderStateDir, COMMANDER_STATE_DIR);
  assert.equal(config.statusPath, STATUS_PATH);
  assert(config.grants.has(CHECK_KEY_NAME));
});

Deno.test("configText() lets commands run for private addresses only if one is asked for", () => {
  for (
    const [ips, expected] of [["9.9.9.9", undefined], ["9.9.9.9,10.0.0.1", true], ["fd00::1", true]] as const
  ) {
    const { table } = parseTomlSource(CONFIG_PATH, configText(parseIps(ips), 34020));
    assert.equal(table["allow_non_routable_ips"], expected, ips);
  }
});

Deno.test("configText() reads back as whatever public addresses and port were filled in", () => {
  const address = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => ipFromBytes(bytes));
  const addresses = fc.uniqueArray(address.filter((ip) => refusedAddressKind(ip) === null), {
    minLength: 1,
    maxLength: 5,
  });
  holds(
    fc.property(addresses, fc.integer({ min: 1, max: 65_535 }), (ips, port) => {
      const config = parseServerConfig(
        parseTomlSource(CONFIG_PATH, configText(parseIps(ips.join(",")), port)),
      );
      assert.deepEqual([...config.ips], ips);
      assert.equal(config.address.port, port);
    }),
    { numRuns: 50 },
  );
});
