/**
 * Joining a server:
 *
 *   folder and key, durable -> dial with the token's CA -> prove the key, show the token's secret -> name
 *                           -> agent.toml with every default, server.json
 *
 * Any step may be cut off and the same command given again: the key is there before the token is shown, and the server
 * binds a token to the first key that shows it, so a lost answer is answered again.
 */
import { type JoinToken, parseJoinToken } from "../../protocol/manage/join_token.ts";
import { ResetError } from "../../protocol/manage/reset_code.ts";
import { fingerprint, formatPublicKey, isSameBytes } from "../../protocol/manage/signing_key.ts";
import type { RandomBytes, Timers } from "../../protocol/rpc/timers.ts";
import { describeError, Failure, UsageFailure } from "../../system/failure.ts";
import { DEFAULT_AGENT_TOML } from "./agent_config.ts";
import type { AgentFolder, AgentServer } from "./agent_folder.ts";
import { dialServer, type LinkDial } from "./server_dial.ts";

/** Attempts at a server that cannot be reached, or whose answer is lost. */
const ATTEMPTS = 3;
const PAUSE_MS = 1_000;

/** What joining takes. */
export interface JoinOptions {
  readonly folder: AgentFolder;
  /** As it was given, with white space around it at most. */
  readonly token: string;
  readonly timers: Timers;
  readonly random: RandomBytes;
  readonly signal: AbortSignal;
  /** Told when an attempt has failed and there is another one. */
  readonly onRetry?: (error: unknown) => void;
  /** See `LinkDial`. */
  readonly dialTls?: LinkDial["dialTls"];
}

/** What came of it. */
export interface Joined {
  readonly server: AgentServer;
  /** Of the host's key, for people. */
  readonly fingerprint: string;
  /** The host's key as text. */
  readonly publicKey: string;
}

/**
 * Joins, or joins again with the same token.
 *
 * @throws {Failure} never with any part of the token
 */
export async function joinServer(options: JoinOptions): Promise<Joined> {
  const { folder, random } = options;
  const token = readToken(options.token);
  await folder.create();
  using _lock = await folder.lock();
  await requireSameServer(folder, token);
  const key = await folder.readOrMakeKey(random);
  const asked: Omit<AgentServer, "name"> = {
    addresses: token.addresses,
    caCertificates: [pemOf(token.caCertificate)],
    generation: 0,
    serverKey: token.serverKey,
  };
  const name = await dialedName(options, {
    server: asked,
    key,
    secret: token.secret,
    onOpen: (flow) => flow.refuse("refused_by_host", "this host is just joining"),
    timers: options.timers,
    random,
    ...(options.dialTls === undefined ? {} : { dialTls: options.dialTls }),
  });
  const server = { name, ...asked };
  await folder.writeConfigIfMissing(DEFAULT_AGENT_TOML);
  await folder.writeServer(server);
  return { server, fingerprint: fingerprint(key.publicKey), publicKey: formatPublicKey(key.publicKey) };
}

function readToken(text: string): JoinToken {
  let token: JoinToken;
  try {
    token = parseJoinToken(text);
  } catch (error) {
    throw new UsageFailure(describeError(error), {
      hint: "postern server manage invite host NAME prints one",
    });
  }
  if (token.kind === "host") return token;
  throw new Failure("cannot join: this token is for an administrator, accepted is one for a host", {
    hint: "postern server manage invite host NAME prints one; with this one: postern client join",
  });
}

async function requireSameServer(folder: AgentFolder, { serverKey }: JoinToken): Promise<void> {
  const joined = await folder.readServerIfJoined();
  if (joined === null || isSameBytes(joined.serverKey, serverKey)) return;
  throw new Failure(`cannot join: ${folder.path} belongs to another server already, as ${joined.name}`, {
    hint: "name another folder with --dir, or remove server.json to leave that server",
  });
}

async function dialedName(options: JoinOptions, dial: LinkDial): Promise<string> {
  for (let attempt = 1;; attempt++) {
    try {
      const { link, name } = await dialServer(dial, options.signal);
      link.close("cancelled", "joined");
      await link.closed;
      return name;
    } catch (error) {
      options.signal.throwIfAborted();
      if (attempt === ATTEMPTS || isFinal(error)) throw joinFailure(error);
      options.onRetry?.(error);
    }
    await new Promise<void>((resolve) => options.timers.after(PAUSE_MS, resolve));
  }
}

/** What another attempt would not change. */
function isFinal(error: unknown): boolean {
  if (error instanceof ResetError) return error.code !== "lost" && error.code !== "silent";
  return Object(error).code === "untrusted";
}

function joinFailure(error: unknown): Failure {
  const code = error instanceof ResetError ? error.code : null;
  return new Failure(`cannot join: ${describeError(error)}`, {
    cause: error,
    hint: code === "token"
      ? "make a new token: postern server manage invite host NAME, with --replace where the name is taken"
      : code === null || code === "lost" || code === "silent"
      ? "is the server running, and reachable from here? The same token may be given again until it expires"
      : undefined,
  });
}

/** PEM of a certificate (RFC 7468). */
function pemOf(der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
