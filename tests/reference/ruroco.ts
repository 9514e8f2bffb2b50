/**
 * The other project: what ruroco's client and server do with a packet, written from the wire format alone and
 * on the reference ciphers beside this file. It must not import anything from `src/`, or a mistake that our
 * writer and our reader share would go unseen.
 */
import { referenceOpen, referenceSeal } from "./aes_gcm_siv.ts";
import { referenceBlake2b } from "./blake2b.ts";

/** What ruroco's client is told. `key` is the text of a key file, `nonce` hex of 12 bytes or random if absent. */
export interface RurocoKnock {
  readonly key: string;
  readonly command: string;
  readonly counter: bigint;
  readonly strict?: boolean;
  readonly sourceIp?: string;
  readonly destinationIp: string;
  readonly nonce?: string;
  /** Any other version than 1 makes a packet that must be refused. */
  readonly version?: number;
}

/** What ruroco's server reads; addresses as hex of 16 bytes, the source as null if it is all zero. */
export interface RurocoPacket {
  readonly keyId: string;
  readonly version: number;
  readonly commandHash: string;
  readonly counter: bigint;
  readonly strict: boolean;
  readonly sourceIp: string | null;
  readonly destinationIp: string;
}

/** A new key's text, as `ruroco-client gen` prints it. */
export function rurocoKey(): string {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(40))));
}

/** The command's hash, as 16 hex digits. */
export function rurocoCommandHash(command: string): string {
  return toHex(referenceBlake2b(new TextEncoder().encode(command), 8));
}

/** An address as the hex of its 16 bytes on the wire. */
export function rurocoIp(ip: string): string {
  if (/^[0-9.]+$/.test(ip)) {
    return "00".repeat(10) + "ffff" + toHex(Uint8Array.from(ip.split("."), Number));
  }
  // The URL parser is somebody else's IPv6 parser; it gives hex groups only, shortened at one place at most.
  const [head = "", tail] = new URL(`http://[${ip}]/`).hostname.slice(1, -1).split("::");
  const groups = (text: string): string[] => text === "" ? [] : text.split(":");
  const left = groups(head);
  const right = groups(tail ?? "");
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => "0");
  return [...left, ...zeros, ...right].map((group) => group.padStart(4, "0")).join("");
}

/** The 94-byte datagram that ruroco's client sends. */
export function buildRurocoPacket(knock: RurocoKnock): Uint8Array<ArrayBuffer> {
  const key = keyBytes(knock.key);
  const plaintext = [
    toHex(Uint8Array.of(knock.version ?? 1)),
    rurocoCommandHash(knock.command),
    knock.counter.toString(16).padStart(32, "0"),
    knock.strict ? "01" : "00",
    knock.sourceIp === undefined ? "00".repeat(16) : rurocoIp(knock.sourceIp),
    rurocoIp(knock.destinationIp),
  ].join("");
  const nonce = knock.nonce ?? toHex(crypto.getRandomValues(new Uint8Array(12)));
  const sealed = toHex(referenceSeal(key.subarray(8), fromHex(nonce), fromHex(plaintext)));
  const [ciphertext, tag] = [sealed.slice(0, 2 * 58), sealed.slice(2 * 58)];
  return fromHex(toHex(key.subarray(0, 8)) + nonce + tag + ciphertext);
}

/** What ruroco's server reads from a datagram, or null if the key does not open it. */
export function openRurocoPacket(key: string, packet: Uint8Array): RurocoPacket | null {
  const hex = toHex(packet);
  const parts = /^(.{16})(.{24})(.{32})(.{116})$/.exec(hex);
  if (parts === null) {
    return null;
  }
  const [, keyId = "", nonce = "", tag = "", ciphertext = ""] = parts;
  const plaintext = referenceOpen(keyBytes(key).subarray(8), fromHex(nonce), fromHex(ciphertext + tag));
  if (keyId !== toHex(keyBytes(key).subarray(0, 8)) || plaintext === null) {
    return null;
  }
  const fields = /^(.{2})(.{16})(.{32})(.{2})(.{32})(.{32})$/.exec(toHex(plaintext)) ?? [];
  const [, version = "", commandHash = "", counter = "", strict = "", sourceIp = "", destinationIp = ""] =
    fields;
  return {
    keyId,
    version: parseInt(version, 16),
    commandHash,
    counter: BigInt(`0x${counter}`),
    strict: strict !== "00",
    sourceIp: /^0+$/.test(sourceIp) ? null : sourceIp,
    destinationIp,
  };
}

/** The 24 bytes that ruroco's server sends to a commander. */
export function rurocoForwardMessage(command: string, ip: string): Uint8Array<ArrayBuffer> {
  return fromHex(rurocoCommandHash(command) + rurocoIp(ip));
}

function keyBytes(text: string): Uint8Array {
  return Uint8Array.from(atob(text.trim()), (char) => char.charCodeAt(0));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}
