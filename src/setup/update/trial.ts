/**
 * Tries a server and a commander beside the ones that run: with a configuration, a key, a port on loopback and
 * folders of their own, by a real knock that runs a real command.
 */
import { makeKey } from "../../client/knock/gen.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { CHECK_COMMAND, CHECK_KEY_NAME } from "../layout.ts";
import type { ProofOptions } from "../proof.ts";
import { TrialProcess } from "./trial_process.ts";
import { exists } from "./swap_disk.ts";

export interface TrialOptions {
  readonly serverPath: string;
  readonly commanderPath: string;
  /** Is made, and removed with all that is in it; a short path, since sockets lie below. */
  readonly dir: string;
  readonly prove: (options: ProofOptions) => Promise<void>;
  /** For each start and for the proof. */
  readonly timeoutMs: number;
}

const LOOPBACK = "127.0.0.1";

/** @throws {Failure} with the last words of the one that failed */
export async function tryBeside(options: TrialOptions): Promise<void> {
  const { dir, timeoutMs } = options;
  // Of a trial that was killed; the folder above is root's, and the lock is held.
  await Deno.remove(dir, { recursive: true }).catch(() => {});
  await Deno.mkdir(dir, { mode: 0o700 });
  try {
    const files = await writeTrial(dir);
    await using commander = new TrialProcess("the new commander", options.commanderPath, files.configPath);
    await commander.until(() => exists(files.socketPath), "its socket is there", timeoutMs);
    await using server = new TrialProcess("the new server", options.serverPath, files.configPath);
    await server.until(() => exists(files.statusPath), "its status file is there", timeoutMs);
    try {
      await options.prove({ configPath: files.configPath, keyPath: files.keyPath, timeoutMs });
      await commander.until(() => exists(files.ranPath), "the command of a knock ran", timeoutMs);
    } catch (error) {
      const words = [server, commander].map((each) => each.lastWords()).filter((text) => text !== "").join(
        "; ",
      );
      throw new Failure(`${describeError(error)}${words === "" ? "" : `; they said: ${words}`}`, {
        cause: error,
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

interface TrialFiles {
  readonly configPath: string;
  readonly keyPath: string;
  readonly socketPath: string;
  readonly statusPath: string;
  /** Written by the command. */
  readonly ranPath: string;
}

async function writeTrial(dir: string): Promise<TrialFiles> {
  for (const name of ["etc", "run", "state", "leases"]) await Deno.mkdir(`${dir}/${name}`, { mode: 0o700 });
  const files: TrialFiles = {
    configPath: `${dir}/etc/config.toml`,
    keyPath: `${dir}/etc/${CHECK_KEY_NAME}.key`,
    socketPath: `${dir}/run/ruroco.socket`,
    statusPath: `${dir}/state/status.json`,
    ranPath: `${dir}/ran`,
  };
  const config = [
    `ips = ["${LOOPBACK}"]`,
    `address = "${LOOPBACK}:${freePort()}"`,
    `config_dir = ${JSON.stringify(`${dir}/etc`)}`,
    `blocklist_dir = ${JSON.stringify(`${dir}/state`)}`,
    `socket_dir = ${JSON.stringify(`${dir}/run`)}`,
    `commander_state_dir = ${JSON.stringify(`${dir}/leases`)}`,
    `status_file = ${JSON.stringify(files.statusPath)}`,
    'socket_user = ""',
    'socket_group = ""',
    "allow_non_routable_ips = true",
    "",
    `[keys.${CHECK_KEY_NAME}]`,
    `allow = ["${CHECK_COMMAND}"]`,
    "",
  ];
  const command = `: > '${files.ranPath.replaceAll("'", `'\\''`)}'`;
  await writePrivate(files.configPath, config.join("\n"));
  await writePrivate(
    `${dir}/etc/commands.toml`,
    `[commands]\n${CHECK_COMMAND} = ${JSON.stringify(command)}\n`,
  );
  await writePrivate(files.keyPath, makeKey().keyText);
  return files;
}

async function writePrivate(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, text, { createNew: true, mode: 0o600 });
}

/** A UDP port that was free a moment ago; if somebody takes it meanwhile, the server says so. */
function freePort(): number {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: LOOPBACK, port: 0 });
  const { port } = socket.addr as Deno.NetAddr;
  socket.close();
  return port;
}
