/** `server manage invite`: a token by which one host or one administrator joins. Works while the server runs. */
import { formatJoinToken, tokenHash } from "../../protocol/manage/join_token.ts";
import { SECRET_BYTES } from "../../protocol/manage/link_hello.ts";
import { isName, NAME_FORM } from "../../protocol/manage/names.ts";
import { type RandomBytes, systemRandomBytes } from "../../protocol/rpc/timers.ts";
import { type Clock, systemClock } from "../../system/clock.ts";
import { UsageFailure } from "../../system/failure.ts";
import { openDataFolder } from "./data_folder.ts";
import { quoteName } from "./members.ts";
import { type MemberRole, Registry } from "./registry.ts";
import { loadServerIdentity } from "./server_identity.ts";

/** Whom to invite. */
export interface Invitation {
  readonly role: MemberRole;
  readonly name: string;
  /** Of a host; null: none were named. */
  readonly tags: readonly string[] | null;
  readonly lifeMs: number;
  /** Whether it takes the place of the one that has the name. */
  readonly replaces: boolean;
}

/** The token, which nothing else may show. */
export interface Invited {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiresMs: number;
  /** Earlier invitations of the name that nobody had used, and that are worth nothing now. */
  readonly takenBack: number;
}

const MAX_TAGS = 32;

/**
 * Makes a token.
 *
 * @throws {UsageFailure} if a name has no form; {Failure} if it is taken and nothing is to be replaced
 */
export async function invite(
  path: string,
  invitation: Invitation,
  { clock = systemClock, random = systemRandomBytes }: { clock?: Clock; random?: RandomBytes } = {},
): Promise<Invited> {
  requireForms(invitation);
  const folder = await openDataFolder(path);
  using registry = await Registry.open(folder, { clock });
  const { serverKey, addresses, caCertificateDer } = await loadServerIdentity(folder, registry);
  const { role, name, tags, replaces, lifeMs } = invitation;
  const secret = random(SECRET_BYTES);
  const expiresMs = Math.floor(clock.wallMs()) + lifeMs;
  const takenBack = registry.createInvite({
    role,
    name,
    // A host that takes the place of another one has the other's tags, unless some are named.
    tags: tags ?? (replaces ? null : []),
    replaces,
    expiresMs,
    secretHash: tokenHash(secret),
  });
  const token = formatJoinToken({
    kind: role,
    secret,
    serverKey: serverKey.publicKey,
    addresses,
    caCertificate: caCertificateDer,
  });
  return { token, expiresMs, takenBack };
}

function requireForms({ role, name, tags }: Invitation): void {
  if (!isName(name)) {
    throw new UsageFailure(`cannot invite ${quoteName(name)}: accepted is a name of ${NAME_FORM}`);
  }
  if (tags === null) return;
  if (role !== "host") {
    throw new UsageFailure("cannot give tags to an administrator: accepted are tags of hosts");
  }
  if (tags.length > MAX_TAGS) {
    throw new UsageFailure(`cannot give ${tags.length} tags: accepted are ${MAX_TAGS} at most`);
  }
  const wrong = tags.find((tag) => !isName(tag));
  if (wrong !== undefined) {
    throw new UsageFailure(`cannot use the tag ${quoteName(wrong)}: accepted are ${NAME_FORM}`);
  }
  if (new Set(tags).size !== tags.length) throw new UsageFailure("cannot give the same tag twice");
}
