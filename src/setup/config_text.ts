/** The config.toml that an installation begins with: the commented template with this machine's values. */
import template from "../../deploy/config.toml" with { type: "text" };
import { parseServerConfig } from "../server/knock/config.ts";
import { parseTomlSource } from "../system/toml_file.ts";
import type { FoundAddress } from "./addresses.ts";
import { CONFIG_PATH } from "./layout.ts";

/**
 * Fills in addresses and port. `allow_non_routable_ips` is set if one of the addresses is private: the clients are
 * then in a private network too, and the proving knock certainly is.
 *
 * @throws {TypeError} if the template has not each of the lines exactly once, or reads back as something else
 */
export function configText(addresses: readonly FoundAddress[], port: number): string {
  const ips = addresses.map(({ ip }) => ip);
  const isPrivate = addresses.some(({ privateKind }) => privateKind !== null);
  let text = replaceLine(template, /^ips = \[.*\]$/gm, `ips = [${ips.map((ip) => `"${ip}"`).join(", ")}]`);
  text = replaceLine(text, /^address = ".*"$/gm, `address = "[::]:${port}"`);
  if (isPrivate) {
    text = replaceLine(text, /^#allow_non_routable_ips = false$/gm, "allow_non_routable_ips = true");
  }
  const source = parseTomlSource(CONFIG_PATH, text);
  const config = parseServerConfig(source);
  const isAsMeant = config.ips.size === ips.length && ips.every((ip) => config.ips.has(ip)) &&
    config.address.ip === "::" && config.address.port === port && config.warnings.length === 0 &&
    (source.table["allow_non_routable_ips"] === true) === isPrivate;
  if (!isAsMeant) throw new TypeError("the configuration reads back as another than was written");
  return text;
}

function replaceLine(text: string, line: RegExp, by: string): string {
  const found = text.match(line)?.length ?? 0;
  if (found !== 1) throw new TypeError(`the template has ${found} lines like ${line}, expected one`);
  return text.replace(line, () => by);
}
