/** Sends datagrams from a host of the tests: `udp_sender.ts IP PORT HEX...`; a dash is the empty datagram. */
import { fromHex } from "./hex.ts";

const [hostname = "", port, ...datagrams] = Deno.args;
const socket = Deno.listenDatagram({
  transport: "udp",
  hostname: hostname.includes(":") ? "::" : "0.0.0.0",
  port: 0,
});
for (const hex of datagrams) {
  await socket.send(fromHex(hex.replace("-", "")), { transport: "udp", hostname, port: Number(port) });
}
socket.close();
