/** One of two programs that find each other by name, as its argument says: prints what the other answered. */
import { call, contract, Node, unix } from "../../mod.ts";

const host = contract({ fromHost: call<string, string>() });
const guest = contract({ fromGuest: call<string, string>() });
const [role = "", folder = ""] = Deno.args;
const { promise: wasCalled, resolve: called } = Promise.withResolvers<void>();

function answer(name: string): string {
  called();
  return `hello ${name}, I am ${role}`;
}

if (role === "host") {
  await using client = await new Node()
    .serve(host, unix(`${folder}/host.sock`), { fromHost: answer }).publish("HOST")
    .connect(guest, unix()).waitFor("GUEST").start();
  await Deno.stdout.write(new TextEncoder().encode(`${await client.fromGuest("guest")}\n`));
  await wasCalled;
} else {
  await using client = await new Node()
    .serve(guest, unix(`${folder}/guest.sock`), { fromGuest: answer }).publish("GUEST")
    .connect(host, unix()).waitFor("HOST").start();
  await Deno.stdout.write(new TextEncoder().encode(`${await client.fromHost("host")}\n`));
  await wasCalled;
}
