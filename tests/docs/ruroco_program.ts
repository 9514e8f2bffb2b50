/**
 * Stand-ins for the programs of ruroco 0.14, on the formats of `tests/reference` and without any code of ours, so far as
 * moving an installation over meets them:
 *
 *   server --config FILE       takes its UDP socket from systemd (as standard input), keeps floors, forwards
 *   commander --config FILE    runs commands.toml, which lies beside the config file
 *   client send -a HOST:PORT -k KEY -c NAME     counts on from a stored counter, as ruroco's does
 *   replay FILE HOST:PORT      sends again what FILE recorded: somebody on the path
 */
import { buildRurocoPacket, openRurocoPacket, rurocoCommandHash, rurocoIp } from "../reference/ruroco.ts";
import { fromHex, toHex } from "../e2e/hex.ts";
import { readRurocoFloors, type RurocoFloors, writeRurocoFloors } from "./ruroco_floors.ts";

const PACKET_BYTES = 94;
const KEY_ID_DIGITS = 16;
const MESSAGE_BYTES = 24;
/** The socket that systemd hands over gives no sender's address by read(2): the machine is alone with itself. */
const PEER = "203.0.113.9";

/** A value of the files that the tests write: `name = "text"`, one a line. */
function value(toml: string, name: string): string {
  const text = new RegExp(`^${name}\\s*=\\s*"([^"]*)"`, "m").exec(toml)?.[1];
  if (text === undefined) throw new Error(`the configuration has no ${name}`);
  return text;
}

function list(toml: string, name: string): string[] {
  const text = new RegExp(`^${name}\\s*=\\s*\\[([^\\]]*)\\]`, "m").exec(toml)?.[1] ?? "";
  return [...text.matchAll(/"([^"]*)"/g)].map(([, each = ""]) => each);
}

async function server(configPath: string): Promise<void> {
  const config = await Deno.readTextFile(configPath);
  const ips = new Set(list(config, "ips").map(rurocoIp));
  const socketPath = `${value(config, "socket_dir").replace(/\/$/, "")}/ruroco.socket`;
  const floorsPath = `${value(config, "blocklist_dir").replace(/\/$/, "")}/blocklist.msgpck`;
  const keys = new Map<string, string>();
  for await (const { name } of Deno.readDir(value(config, "config_dir"))) {
    if (!name.endsWith(".key")) continue;
    const key = (await Deno.readTextFile(`${value(config, "config_dir")}/${name}`)).trim();
    keys.set(toHex(Uint8Array.from(atob(key), (char) => char.charCodeAt(0))).slice(0, KEY_ID_DIGITS), key);
  }
  const floors = await storedFloors(floorsPath);
  const now = BigInt(Date.now()) * 1_000_000n;
  for (const keyId of keys.keys()) if (!floors.has(keyId)) floors.set(keyId, now);
  await saveFloors(floorsPath, floors);
  // Each read of a datagram socket gives one datagram.
  const buffer = new Uint8Array(PACKET_BYTES);
  for (;;) {
    const length = await Deno.stdin.read(buffer);
    if (length !== PACKET_BYTES) continue;
    const key = keys.get(toHex(buffer.subarray(0, 8)));
    const packet = key === undefined ? null : openRurocoPacket(key, buffer);
    const floor = floors.get(packet?.keyId ?? "");
    if (packet === null || floor === undefined) continue;
    const { counter } = packet;
    if (counter <= floor || !ips.has(packet.destinationIp)) continue;
    floors.set(packet.keyId, counter);
    await saveFloors(floorsPath, floors);
    using connection = await Deno.connect({ transport: "unix", path: socketPath });
    await connection.write(fromHex(packet.commandHash + (packet.sourceIp ?? rurocoIp(PEER))));
  }
}

async function storedFloors(path: string): Promise<RurocoFloors> {
  try {
    return readRurocoFloors(await Deno.readFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Map();
    throw error;
  }
}

async function saveFloors(path: string, floors: RurocoFloors): Promise<void> {
  await Deno.writeFile(`${path}.new`, writeRurocoFloors(floors));
  await Deno.rename(`${path}.new`, path);
}

async function commander(configPath: string): Promise<void> {
  const config = await Deno.readTextFile(configPath);
  const file = await Deno.readTextFile(configPath.replace(/[^/]*$/, "commands.toml"));
  const commands = new Map(
    [...file.matchAll(/^(\w+)\s*=\s*(?:\{\s*cmd\s*=\s*)?"([^"]*)"/gm)].map(([, name = "", text = ""]) => [
      rurocoCommandHash(name),
      text,
    ]),
  );
  const path = `${value(config, "socket_dir").replace(/\/$/, "")}/ruroco.socket`;
  await Deno.remove(path).catch(() => {});
  const listener = Deno.listen({ transport: "unix", path });
  await Deno.chmod(path, 0o204);
  const owner = `${value(config, "socket_user")}:${value(config, "socket_group")}`;
  await new Deno.Command("chown", { args: [owner, path] }).output();
  for await (const connection of listener) {
    using closing = connection;
    const message = new Uint8Array(MESSAGE_BYTES);
    if (await closing.read(message) !== MESSAGE_BYTES) continue;
    const text = commands.get(toHex(message.subarray(0, 8)));
    if (text === undefined) continue;
    const ip = toHex(message.subarray(8));
    const known = ip === rurocoIp(PEER) ? PEER : ip;
    await new Deno.Command("sh", { args: ["-c", text], env: { RUROCO_IP: known } }).output();
  }
}

async function client(words: readonly string[]): Promise<void> {
  const [address = "", key = "", command = ""] = ["-a", "-k", "-c"].map((option) =>
    words[words.indexOf(option) + 1] ?? ""
  );
  const [host = "", port = ""] = address.split(":");
  const hosts = await new Deno.Command("getent", { args: ["ahostsv4", host] }).output();
  const ip = new TextDecoder().decode(hosts.stdout).split(" ")[0] ?? "";
  const packet = buildRurocoPacket({ key, command, counter: await nextCounter(), destinationIp: ip });
  const record = Deno.env.get("RUROCO_RECORD");
  if (record !== undefined) await Deno.writeTextFile(record, toHex(packet));
  await send(packet, ip, Number(port));
}

/** Seeded with the time at the first use, and one more each time after: it lags behind the clock ever more. */
async function nextCounter(): Promise<bigint> {
  const path = `${Deno.env.get("RUROCO_CONF_DIR") ?? "."}/counter`;
  const stored = await Deno.readTextFile(path).catch(() => null);
  const next = stored === null ? BigInt(Date.now()) * 1_000_000n : BigInt(stored) + 1n;
  await Deno.writeTextFile(path, String(next));
  return next;
}

async function send(packet: Uint8Array, hostname: string, port: number): Promise<void> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
  await socket.send(packet, { transport: "udp", hostname, port });
  socket.close();
}

const [role, ...words] = Deno.args;
const configPath = words[words.indexOf("--config") + 1] ?? "";
if (role === "server") await server(configPath);
else if (role === "commander") await commander(configPath);
else if (role === "client") await client(words);
else if (role === "replay") {
  const [file = "", address = ""] = words;
  const [host = "", port = ""] = address.split(":");
  await send(fromHex((await Deno.readTextFile(file)).trim()), host, Number(port));
} else throw new Error(`found "${role}", accepted: server, commander, client, replay`);
