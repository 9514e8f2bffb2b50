import assert from "node:assert/strict";
import { answerUpgrade } from "../../../src/protocol/transport/web_socket_upgrade.ts";

const HOST = "127.0.0.1:1337";
const RULES = { path: "/rpc", origins: ["https://app.example"], isTls: false };
const HEADERS: Readonly<Record<string, string>> = {
  Host: HOST,
  Upgrade: "websocket",
  Connection: "keep-alive, Upgrade",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Protocol": "chat, postern-bytes.1",
};

function statusOf(
  headers: Readonly<Record<string, string | null>>,
  rules = RULES,
  requestLine = "GET /rpc HTTP/1.1",
): string {
  const lines = Object.entries({ ...HEADERS, ...headers })
    .filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${value}`);
  const { isAccepted, head } = answerUpgrade([requestLine, ...lines].join("\r\n"), rules);
  const status = head.slice("HTTP/1.1 ".length, "HTTP/1.1 ".length + 3);
  assert.equal(isAccepted, status === "101");
  return status;
}

Deno.test("answerUpgrade() accepts with the key of RFC 6455 section 1.3", () => {
  const lines = Object.entries(HEADERS).map(([name, value]) => `${name}: ${value}`);
  const { head } = answerUpgrade(["GET /rpc HTTP/1.1", ...lines].join("\r\n"), RULES);
  assert.equal(
    head,
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: postern-bytes.1\r\n\r\n",
  );
});

const ORIGINS: readonly (readonly [name: string, origin: string | null, host: string, status: string])[] = [
  ["a program that sends no origin", null, HOST, "101"],
  ["a program that sends no origin and uses any name", null, "host.example:1337", "101"],
  ["a page of the same address", "http://127.0.0.1:1337", HOST, "101"],
  ["a page of the same address by version 6", "http://[::1]:1337", "[::1]:1337", "101"],
  ["a page of localhost", "http://localhost:1337", "localhost:1337", "101"],
  ["a page that was listed", "https://app.example", HOST, "101"],
  ["a page of a stranger", "https://evil.example", HOST, "403"],
  ["a page of a stranger on the same host but another port", "http://127.0.0.1:8080", HOST, "403"],
  ["a page of another scheme", "https://127.0.0.1:1337", HOST, "403"],
  ["a page of a file or a sandbox", "null", HOST, "403"],
  ["a page whose name was rebound to this address", "http://evil.example:1337", "evil.example:1337", "403"],
  [
    "a page whose name begins with an address",
    "http://127.0.0.1.evil.example",
    "127.0.0.1.evil.example",
    "403",
  ],
  ["a page whose name ends with localhost", "http://evil.localhost:1337", "evil.localhost:1337", "403"],
  ["a page that extends a listed origin", "https://app.example.evil.example", HOST, "403"],
  ["a page without a name", "", HOST, "403"],
];

for (const [name, origin, host, status] of ORIGINS) {
  Deno.test(`answerUpgrade() answers ${status} to ${name}`, () => {
    assert.equal(statusOf({ Origin: origin, Host: host }), status);
  });
}

Deno.test("answerUpgrade() takes a page of the same address over TLS by its https origin only", () => {
  const rules = { ...RULES, isTls: true };
  assert.equal(statusOf({ Origin: `https://${HOST}` }, rules), "101");
  assert.equal(statusOf({ Origin: `http://${HOST}` }, rules), "403");
});

const REQUESTS: readonly (readonly [
  name: string,
  headers: Readonly<Record<string, string | null>>,
  requestLine: string | undefined,
  status: string,
])[] = [
  ["another path", {}, "GET / HTTP/1.1", "404"],
  ["a longer path", {}, "GET /rpc/ HTTP/1.1", "404"],
  ["another method", {}, "POST /rpc HTTP/1.1", "400"],
  ["another version of HTTP", {}, "GET /rpc HTTP/1.0", "400"],
  ["no Host", { Host: null }, undefined, "400"],
  ["no Upgrade", { Upgrade: null }, undefined, "426"],
  ["no Connection: Upgrade", { Connection: "close" }, undefined, "426"],
  ["another version of WebSocket", { "Sec-WebSocket-Version": "8" }, undefined, "426"],
  ["no key", { "Sec-WebSocket-Key": null }, undefined, "400"],
  ["a key of 15 bytes", { "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAA" }, undefined, "400"],
  ["no subprotocol", { "Sec-WebSocket-Protocol": null }, undefined, "400"],
  ["another subprotocol", { "Sec-WebSocket-Protocol": "postern-bytes.2" }, undefined, "400"],
  ["a second Host", { host: "127.0.0.1:1337" }, undefined, "400"],
  ["a second Origin", { Origin: "https://app.example", origin: "https://evil.example" }, undefined, "400"],
  ["a folded header", { "X-Folded": "a\r\n b" }, undefined, "400"],
  ["a control character in a header", { "X-Bell": "\x07" }, undefined, "400"],
  ["a space before a colon", { "Origin ": "https://evil.example" }, undefined, "400"],
];

for (const [name, headers, requestLine, status] of REQUESTS) {
  Deno.test(`answerUpgrade() answers ${status} to a request with ${name}`, () => {
    assert.equal(statusOf(headers, RULES, requestLine), status);
  });
}
