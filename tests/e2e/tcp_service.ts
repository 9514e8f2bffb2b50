/** A TCP service for the tests: `tcp_service.ts PORT` greets, then gives each line back in capitals. */
const listener = Deno.listen({ hostname: "::", port: Number(Deno.args[0]) });
Deno.stderr.writeSync(new TextEncoder().encode("listening\n"));
for await (const connection of listener) {
  // Whoever only looks whether the port is open is gone before the greeting; the service must outlive that.
  serve(connection).catch(() => {});
}

async function serve(connection: Deno.Conn): Promise<void> {
  using _closing = connection;
  await writeAll(connection, "welcome\n");
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(1024);
  for (;;) {
    const count = await connection.read(buffer);
    if (count === null) return;
    await writeAll(connection, decoder.decode(buffer.subarray(0, count), { stream: true }).toUpperCase());
  }
}

async function writeAll(connection: Deno.Conn, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
}
