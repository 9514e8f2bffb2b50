/**
 * The opening handshake of RFC 6455 section 4.2, as a server judges it.
 *
 * The threat is a page of a stranger in a browser that reaches this address: browsers let every page open a
 * WebSocket anywhere, and tell only by the Origin header which page it is. See `originProblem`.
 */
import { sha1 } from "@noble/hashes/legacy.js";
import { SUBPROTOCOL } from "./web_socket_address.ts";

/** Longest head of a request: request line, headers and the empty line. */
export const MAX_HEAD_BYTES = 8 * 1024;
/** What ends a head. */
export const HEAD_END = "\r\n\r\n";

/** Whom to let in. */
export interface UpgradeRules {
  /** Path of the listener's address. */
  readonly path: string;
  /** Origins of pages elsewhere that may connect, such as "https://app.example". */
  readonly origins: readonly string[];
  readonly isTls: boolean;
}

/** What to write, and whether the connection stands then; if not, it is closed. */
export interface UpgradeAnswer {
  readonly isAccepted: boolean;
  readonly head: string;
}

const REQUEST_LINE = /^GET (\/[\x21-\x7e]*) HTTP\/1\.1$/;
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t\x80-\xff]*?)[ \t]*$/;
/** 16 bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;
const KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Judges a request, `HEAD_END` not included, one byte a character. */
export function answerUpgrade(head: string, rules: UpgradeRules): UpgradeAnswer {
  const [requestLine = "", ...lines] = head.split("\r\n");
  const target = REQUEST_LINE.exec(requestLine)?.[1];
  const headers = readHeaders(lines);
  if (target === undefined || headers === null) return refusal("400 Bad Request", "this is no request");
  if (target !== rules.path) return refusal("404 Not Found", "nothing is here");

  const has = (name: string, token: string): boolean =>
    (headers.get(name) ?? "").toLowerCase().split(",").some((each) => each.trim() === token);
  const key = headers.get("sec-websocket-key") ?? "";
  const host = headers.get("host");
  if (!has("upgrade", "websocket") || !has("connection", "upgrade")) {
    return refusal("426 Upgrade Required", "only WebSockets are served here", "Upgrade: websocket");
  }
  if (headers.get("sec-websocket-version") !== "13") {
    return refusal("426 Upgrade Required", "this version is not served", "Sec-WebSocket-Version: 13");
  }
  if (!KEY.test(key) || host === undefined) return refusal("400 Bad Request", "this is no WebSocket request");
  if (!has("sec-websocket-protocol", SUBPROTOCOL)) {
    return refusal("400 Bad Request", `only the subprotocol ${SUBPROTOCOL} is served here`);
  }
  const problem = originProblem(headers.get("origin") ?? null, host, rules);
  if (problem !== null) return refusal("403 Forbidden", problem);
  return { isAccepted: true, head: accepting(key) };
}

/**
 * Why a request of that origin is not let in; null if it is.
 *
 * - Without an Origin header it comes from no page: a program, which could claim any origin.
 * - Origins that were listed may.
 * - A page of this same address may, where that is a number or "localhost". Any other name, although equal to the
 *   Host header, may have been a stranger's a moment ago and point here now (DNS rebinding), so it must be listed.
 */
function originProblem(origin: string | null, host: string, rules: UpgradeRules): string | null {
  if (origin === null || rules.origins.includes(origin)) return null;
  const isHere = origin === `${rules.isTls ? "https" : "http"}://${host}`;
  if (isHere && isFixedHost(host)) return null;
  return "pages of this origin may not connect: it is not one of the allowed origins";
}

/** Whether a Host header names an address that nobody can point elsewhere. */
function isFixedHost(host: string): boolean {
  return /^(?:localhost|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/.test(host);
}

/** Headers by name in lower case; null if a line is none, or one that must be single is there twice. */
function readHeaders(lines: readonly string[]): Map<string, string> | null {
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = HEADER_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) return null;
    const key = name.toLowerCase();
    const before = headers.get(key);
    // Two origins or hosts: the one that is checked might not be the one that is meant.
    if (before !== undefined && ["host", "origin", "sec-websocket-key"].includes(key)) return null;
    headers.set(key, before === undefined ? value : `${before}, ${value}`);
  }
  return headers;
}

function accepting(key: string): string {
  const digest = sha1(new TextEncoder().encode(key + KEY_SUFFIX));
  return [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${btoa(String.fromCharCode(...digest))}`,
    `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
  ].join("\r\n") + HEAD_END;
}

/** Refuses; also with a status and reason of the caller's own. */
export function refusal(status: string, reason: string, header?: string): UpgradeAnswer {
  const body = `${reason}\n`;
  const lines = [
    `HTTP/1.1 ${status}`,
    "Connection: close",
    "Content-Type: text/plain",
    `Content-Length: ${body.length}`,
    ...(header === undefined ? [] : [header]),
  ];
  return { isAccepted: false, head: lines.join("\r\n") + HEAD_END + body };
}
