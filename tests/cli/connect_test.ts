/** `client connect` as the process that ssh's ProxyCommand would start. */
import assert from "node:assert/strict";
import { formatKey, generateKey } from "../../src/protocol/knock/key.ts";
import { openRurocoPacket, rurocoCommandHash } from "../reference/ruroco.ts";

const mainPath = new URL("../../main.ts", import.meta.url).pathname;
const decoder = new TextDecoder();

async function readToEnd(connection: Deno.TcpConn): Promise<string> {
  const buffer = new Uint8Array(65_536);
  let text = "";
  for (let count; (count = await connection.read(buffer)) !== null;) {
    text += decoder.decode(buffer.subarray(0, count), { stream: true });
  }
  return text;
}

Deno.test({
  name:
    "client connect knocks, gets through a port the knock opens, and is a clean pipe with half-close both ways",
  timeout: 60_000,
  async fn(): Promise<void> {
    const key = generateKey();
    const keyFile = await Deno.makeTempFile({ suffix: ".key" });
    await Deno.writeTextFile(keyFile, formatKey(key));
    await Deno.chmod(keyFile, 0o600);
    const knocks = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    assert("port" in knocks.addr);
    const knockPort = knocks.addr.port;
    // Reserved and closed again: nobody listens until the knock has come.
    const reserved = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = reserved.addr;
    reserved.close();
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        `--allow-net=0.0.0.0:0,127.0.0.1:${knockPort},127.0.0.1:${port}`,
        `--allow-read=${keyFile}`,
        ...[mainPath, "client", "connect", "-a", `127.0.0.1:${knockPort}`, "-K", keyFile, "-c", "open_ssh"],
        ...["--to", `127.0.0.1:${port}`, "--wait", "20s"],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    try {
      const [packet] = await knocks.receive();
      assert.equal(openRurocoPacket(formatKey(key), packet)?.commandHash, rurocoCommandHash("open_ssh"));
      using listener = Deno.listen({ hostname: "127.0.0.1", port });
      using connection = await listener.accept();
      await connection.write(new TextEncoder().encode("SSH-2.0-door\r\n"));

      const input = child.stdin.getWriter();
      const output = child.stdout.getReader();
      const banner = await output.read();
      assert.equal(decoder.decode(banner.value), "SSH-2.0-door\r\n");
      await input.write(new TextEncoder().encode("hello"));
      await input.close();
      // The end of the input arrives here, and the answer to it still gets back.
      assert.equal(await readToEnd(connection), "hello");
      await connection.write(new TextEncoder().encode("goodbye"));
      await connection.closeWrite();
      assert.equal(decoder.decode((await output.read()).value), "goodbye");
      assert((await output.read()).done);
      assert.equal(decoder.decode(new Uint8Array(await new Response(child.stderr).arrayBuffer())), "");
      assert.equal((await child.status).code, 0);
    } finally {
      knocks.close();
      await Deno.remove(keyFile);
    }
  },
});
