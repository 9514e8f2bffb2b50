/**
 * Registers this machine's key with a server, by the token of an invitation:
 *
 *   program            the key is made and stored, durable, before anybody sees it
 *   program -> server  join: proof of the key over the link's transcript, and the token's secret
 *   server             binds token and key in one transaction
 *   server -> program  the name from the server's registry
 *   program            server.json is stored
 *
 * Whatever is lost on the way, the same command again shows the same key, and the server answers as before.
 */
import { type JoinToken, parseJoinToken } from "../../protocol/manage/join_token.ts";
import { fingerprint, isSameBytes, type SigningKey } from "../../protocol/manage/signing_key.ts";
import { type RandomBytes, systemRandomBytes, type Timers } from "../../protocol/rpc/timers.ts";
import { Failure, UsageFailure } from "../../system/failure.ts";
import { dialServer } from "./dial_server.ts";
import { readOrMakeIdentity } from "./identity.ts";
import type { ManageFolder, ServerRecord } from "./manage_folder.ts";

/** With what to join, and where to keep what comes of it. */
export interface JoinOptions {
  readonly folder: ManageFolder;
  /** As it was given; secret, and repeated nowhere. */
  readonly token: string;
  readonly timers: Timers;
  /** Takes lines for people. */
  readonly onNotice: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** @default systemRandomBytes */
  readonly random?: RandomBytes;
  /** All addresses together have this long. @default 10,000 */
  readonly timeoutMs?: number;
}

/** What came of it. */
export interface Joined {
  /** By which the server knows this administrator. */
  readonly name: string;
  readonly addresses: readonly string[];
  /** Fingerprint of the server's key. */
  readonly server: string;
  /** Our public key, 32 bytes. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

const PEM_LINE = /.{1,64}/g;
const MAX_PINS = 2;

/**
 * Joins.
 *
 * @throws {UsageFailure} if the token is none, or a host's; {Failure} if the folder belongs to another server, the
 * server cannot be reached, or the folder cannot be written; {ResetError} what the server says, such as "token"
 */
export async function joinServer(options: JoinOptions): Promise<Joined> {
  const { folder, timers, onNotice, signal, random = systemRandomBytes } = options;
  const token = readToken(options.token);
  folder.make();
  const known = folder.serverIfJoined();
  requireSameServer(folder, known, token);
  const key = await readOrMakeIdentity(folder, random);
  const caCertificates = pinsOf(token, known);
  const { link, name } = await dialServer({
    kind: "join",
    addresses: token.addresses,
    caCertificates,
    serverKey: token.serverKey,
    key: Promise.resolve(key),
    secret: token.secret,
    timers,
    random,
    onNotice,
    signal,
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  });
  link.close("cancelled", "the administrator has joined");
  await keep(folder, token, known, name);
  return joined(token, name, key);
}

async function keep(
  folder: ManageFolder,
  token: JoinToken,
  known: ServerRecord | null,
  name: string,
): Promise<void> {
  await folder.locked(() => {
    const now = folder.serverIfJoined();
    requireSameServer(folder, now, token);
    // The server may have handed out newer ones meanwhile, to another command.
    const isNewer = now !== null && now.generation > (known?.generation ?? 0);
    folder.keepServer({
      name,
      addresses: token.addresses,
      caCertificates: isNewer ? now.caCertificates : pinsOf(token, now),
      // Counted anew: a server that has lost its registry counts from 1 again, and what it hands out then must be taken.
      generation: isNewer ? now.generation : 0,
      serverKey: token.serverKey,
    });
  });
}

function joined({ addresses, serverKey }: JoinToken, name: string, { publicKey }: SigningKey): Joined {
  return { name, addresses, server: fingerprint(serverKey), publicKey };
}

function readToken(text: string): JoinToken {
  let token: JoinToken;
  try {
    token = parseJoinToken(text);
  } catch (error) {
    throw new UsageFailure(
      error instanceof TypeError ? error.message : "cannot read the token: it has another form",
      { hint: "the operator of the server makes one by postern server manage invite admin NAME" },
    );
  }
  if (token.kind === "administrator") return token;
  throw new UsageFailure("cannot join as an administrator: found the token of a host", {
    hint:
      "on that host run postern commander agent --join TOKEN; the operator of the server makes one for you by " +
      "postern server manage invite admin NAME",
  });
}

/** Two servers in one folder: known hosts of one would be taken for those of the other. */
function requireSameServer(folder: ManageFolder, known: ServerRecord | null, token: JoinToken): void {
  if (known === null || isSameBytes(known.serverKey, token.serverKey)) return;
  throw new Failure(
    `cannot join: ${folder.path} belongs to another server already, ${known.addresses.join(", ")} ` +
      `(${fingerprint(known.serverKey)})`,
    {
      hint:
        "join the new one in a folder of its own, by --dir DIR here and with every later command; or move " +
        `${folder.path} away if the old server is gone`,
    },
  );
}

/** The token's first: it is the newer one of the two, as a rule. */
function pinsOf(token: JoinToken, known: ServerRecord | null): readonly string[] {
  const pem = pemOf(token.caCertificate);
  const others = known?.caCertificates.filter((each) => each.trim() !== pem.trim()) ?? [];
  return [pem, ...others].slice(0, MAX_PINS);
}

function pemOf(der: Uint8Array): string {
  const lines = der.toBase64().match(PEM_LINE) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
