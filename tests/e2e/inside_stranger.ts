/**
 * The stranger: imported before the program, by whatever starts it. Takes hold of the sockets that the program makes,
 * and when a line with the places comes on standard input makes every attempt from within that same process, and
 * writes what came of it as one line of JSON. Then the program serves on.
 */
import { attemptsOf, LIMITS, outcomeOf, type Places, tryAll, tryToFetchPackage } from "./inside_attempts.ts";

const sockets: Deno.DatagramConn[] = [];
const listenDatagram = Deno.listenDatagram;
Deno.listenDatagram = ((...args: Parameters<typeof listenDatagram>): Deno.DatagramConn => {
  const socket = listenDatagram(...args);
  sockets.push(socket);
  return socket;
}) as typeof listenDatagram;

/** Over when the attempts have been made. */
export const attempted: Promise<void> = attemptWhenAsked();

async function attemptWhenAsked(): Promise<void> {
  const { role, places }: { role: "server" | "commander"; places: Places } = JSON.parse(await firstLine());
  const outcomes = await tryAll(attemptsOf(role), places);
  for (const [index, socket] of sockets.entries()) {
    for (
      const [who, port] of [["the peer that knocked", places.peerPort], ["anybody", places.tcpPort]] as const
    ) {
      const to = { transport: "udp", hostname: "127.0.0.1", port } as const;
      outcomes.push([
        `answer ${who} from socket ${index}`,
        await outcomeOf(() => socket.send(new Uint8Array([1]), to)),
      ]);
    }
    const itself = socket.addr as Deno.NetAddr;
    const { hostname, port } = itself;
    outcomes.push(
      [
        `send to itself from socket ${index}`,
        await outcomeOf(() => socket.send(new Uint8Array([1]), itself)),
      ],
      [
        `listen by TCP on the address of socket ${index}`,
        await outcomeOf(() => Deno.listen({ hostname, port }).close()),
      ],
      [
        `connect by TCP to the address of socket ${index}`,
        await outcomeOf(() => Deno.connect({ hostname, port }).then((c) => c.close())),
      ],
    );
  }
  await tryToFetchPackage();
  const limits = await tryAll(LIMITS[role], places);
  Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify({ outcomes, limits }) + "\n"));
}

async function firstLine(): Promise<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(4096);
  let text = "";
  while (!text.includes("\n")) {
    const count = await Deno.stdin.read(buffer);
    if (count === null) throw new Error("standard input ended without the places");
    text += decoder.decode(buffer.subarray(0, count), { stream: true });
  }
  return text;
}
