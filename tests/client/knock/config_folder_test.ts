import assert from "node:assert/strict";
import { configFolder } from "../../../src/client/knock/config_folder.ts";

const ALL = {
  POSTERN_CONF_DIR: "/ours",
  RUROCO_CONF_DIR: "/theirs",
  XDG_CONFIG_HOME: "/xdg",
  HOME: "/home/u",
};

function folderOf(environment: Readonly<Record<string, string>>): string | null {
  return configFolder((name) => environment[name]);
}

Deno.test("configFolder() asks the variables in their order", () => {
  const { POSTERN_CONF_DIR: _ours, ...withoutOurs } = ALL;
  const { RUROCO_CONF_DIR: _theirs, ...withoutBoth } = withoutOurs;
  const { XDG_CONFIG_HOME: _xdg, ...homeOnly } = withoutBoth;
  assert.deepEqual([ALL, withoutOurs, withoutBoth, homeOnly, {}].map(folderOf), [
    "/ours",
    "/theirs",
    "/xdg/postern",
    "/home/u/.config/postern",
    null,
  ]);
});

Deno.test("configFolder() ignores a relative XDG_CONFIG_HOME", () => {
  assert.equal(folderOf({ XDG_CONFIG_HOME: "xdg", HOME: "/home/u" }), "/home/u/.config/postern");
});
