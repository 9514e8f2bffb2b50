/** A temporary folder with what a server reads: config.toml, key files, state. Removed at the end of the scope. */
import { formatKey, generateKey } from "../../../src/protocol/knock/key.ts";
import type { Key } from "../../../src/protocol/knock/key.ts";
import { loadServerConfig } from "../../../src/server/knock/config.ts";
import type { ServerConfig } from "../../../src/server/knock/config.ts";

/** Accepts packets made for 127.0.0.1, on a free port of the same, without waiting for anybody. */
export const LOOPBACK_CONFIG = `ips = ["127.0.0.1"]\naddress = "127.0.0.1:0"\n`;

export class ServerFolder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** With the given config.toml and no key. */
  static async make(config: string = LOOPBACK_CONFIG): Promise<ServerFolder> {
    const folder = new ServerFolder(await Deno.makeTempDir({ prefix: "postern-server-" }));
    await folder.write("config.toml", config);
    return folder;
  }

  get configPath(): string {
    return `${this.path}/config.toml`;
  }

  async write(name: string, text: string): Promise<void> {
    await Deno.writeTextFile(`${this.path}/${name}`, text, { mode: 0o600 });
  }

  async remove(name: string): Promise<void> {
    await Deno.remove(`${this.path}/${name}`);
  }

  async addKey(stem: string, key: Key = generateKey()): Promise<Key> {
    await this.write(`${stem}.key`, formatKey(key));
    return key;
  }

  config(): Promise<ServerConfig> {
    return loadServerConfig(this.configPath);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}
