/** The real server as a process of its own, with exactly the permissions that its configuration calls for. */
import { LoggedProcess } from "../../../scripts/process.ts";
import { loadServerConfig } from "../../../src/server/knock/config.ts";
import { serverPermissions } from "../../../src/server/knock/permissions.ts";
import { permissionFlags, permissionSet } from "../../../src/system/permissions.ts";

const serverPath = new URL("../server_process.ts", import.meta.url).pathname;

/** Starts a program under the server's permissions; by default the server itself. */
export async function spawnServer(configPath: string, program = serverPath): Promise<LoggedProcess> {
  const flags = permissionFlags(permissionSet(serverPermissions(await loadServerConfig(configPath))));
  return new LoggedProcess(["run", "--no-prompt", "--quiet", ...flags, program, configPath]);
}

/** Waits for the readiness line; gives the port. */
export async function readyPort(server: LoggedProcess): Promise<number> {
  const line = await server.line(({ fields }) => fields["message"] === "server ready");
  return Number(String(line.fields["address"]).split(":").at(-1));
}
