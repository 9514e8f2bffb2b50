import assert from "node:assert/strict";
import { type ConfigPaths, readConfigPaths, readPath } from "../../src/system/config_paths.ts";
import { Failure } from "../../src/system/failure.ts";
import { TomlFields } from "../../src/system/toml_fields.ts";
import { parseTomlSource } from "../../src/system/toml_file.ts";

const PATH = "/etc/postern/config.toml";

function paths(text: string): ConfigPaths {
  return readConfigPaths(parseTomlSource(PATH, text));
}

Deno.test("readConfigPaths() takes the folder of the file for all that is not set", () => {
  assert.deepEqual(paths(""), {
    configPath: PATH,
    configDir: "/etc/postern",
    socketDir: "/etc/postern",
    socketPath: "/etc/postern/ruroco.socket",
  });
});

Deno.test("readConfigPaths() puts the socket into socket_dir, else into config_dir", () => {
  assert.equal(paths('config_dir = "/srv/keys/"').socketPath, "/srv/keys/ruroco.socket");
  const { configDir, socketPath } = paths('config_dir = "/srv/keys"\nsocket_dir = "/run/../run/p/"');
  assert.deepEqual([configDir, socketPath], ["/srv/keys", "/run/p/ruroco.socket"]);
});

Deno.test("readConfigPaths() resolves relative folders against the current one", () => {
  const { configDir, socketDir } = paths('config_dir = "etc"\nsocket_dir = "."');
  assert.deepEqual([configDir, socketDir], [`${Deno.cwd()}/etc`, Deno.cwd()]);
});

const FORMS = "accepted is a path without a comma (the sandbox separates paths by commas)";

const refusals: readonly [value: string, problem: string][] = [
  [`""`, `found "", ${FORMS}`],
  [`"/run/a,/etc"`, `found "/run/a,/etc", ${FORMS}`],
  [`"/run/a\\u0000/etc"`, "found text with a NUL, accepted is text without"],
  [`["/run"]`, `found a list of 1, ${FORMS}`],
];

for (const [value, problem] of refusals) {
  Deno.test(`readPath() refuses ${value}, and so does readConfigPaths()`, () => {
    const source = parseTomlSource(PATH, `status_file = ${value}\nconfig_dir = ${value}\n`);
    assert.throws(
      () => readPath(new TomlFields(source), "status_file"),
      (error: unknown) => error instanceof Failure && error.message === `${PATH}:1: status_file: ${problem}`,
    );
    assert.throws(
      () => readConfigPaths(source),
      (error: unknown) => error instanceof Failure && error.message === `${PATH}:2: config_dir: ${problem}`,
    );
  });
}
