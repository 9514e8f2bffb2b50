import assert from "node:assert/strict";
import fc from "fast-check";
import { formatHostPort, parseHostPort } from "../../../src/protocol/transport/host_port.ts";
import { holds } from "../../property.ts";

const port = fc.integer({ min: 0, max: 65_535 });

Deno.test("parseHostPort() reads what formatHostPort() wrote", () => {
  const hostname = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
  holds(fc.property(hostname, port, (hostname, port) => {
    assert.deepEqual(parseHostPort(formatHostPort({ hostname, port }), "cannot try"), { hostname, port });
  }));
});

for (
  const text of [
    "",
    "127.0.0.1",
    ":80",
    "127.0.0.1:",
    "127.0.0.1:65536",
    "127.0.0.1:-1",
    "127.0.0.1:080x",
    "127.0.0.1:123456",
    "::1:80",
    "[::1]",
    "[127.0.0.1:80",
    "[]:80",
    "a b:80",
    "http://a:80",
    "a:80/",
    "a:80\n",
    "a:８０",
  ]
) {
  Deno.test(`parseHostPort() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseHostPort(text, "cannot try"), {
      name: "TransportError",
      code: "address",
      message: /^cannot try: .* is no address, it wants host:port/,
    });
  });
}
