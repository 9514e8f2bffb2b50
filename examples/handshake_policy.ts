/**
 * A server that takes one client at a time, and only one that holds the secret.
 *
 *   deno run --allow-net examples/handshake_policy.ts
 */
// deno-lint-ignore-file no-console
import { call, ConnectionError, contract, hmac, Node, tcp } from "@postern/postern";

const vault = contract({ open: call<string, string>() });
// At least 16 bytes; nobody should be able to guess it, so take random ones: `openssl rand -hex 32`.
const secret = "7d1f6a0c4be94f5f8d1c25ae6d3b90f2";

await using server = await new Node({ handshake: hmac(secret) })
  .serve(vault, tcp("127.0.0.1:0"), { open: (drawer) => `drawer "${drawer}" is open` })
  .oneToOne()
  .start();
const there = tcp(server.addresses[0]);

async function attempt(who: string, key: string): Promise<void> {
  try {
    await using client = await new Node({ handshake: hmac(key) }).connect(vault, there).start();
    console.log(`${who}: ${await client.open("left")}`);
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    console.log(`${who}: ${error.reason}`);
  }
}

await attempt("stranger", "a secret that is another one");
{
  await using client = await new Node({ handshake: hmac(secret) }).connect(vault, there).start();
  console.log(`first: ${await client.open("right")}`);
  // The place is taken, though not by the stranger above: whoever proves nothing never gets it.
  await attempt("second", secret);
}
await attempt("second, later", secret);
