/**
 * The key that each host had when it was met first. The server says which key a name has; this is what keeps it from
 * saying something else later.
 *
 *     # comments and empty lines stay
 *     web1 q1f3...   43 characters of base64url
 */
import { isName } from "../../protocol/manage/names.ts";
import {
  fingerprint,
  formatPublicKey,
  isSameBytes,
  parsePublicKey,
} from "../../protocol/manage/signing_key.ts";
import { Failure } from "../../system/failure.ts";
import { type ManageFolder, readText, writeText } from "./manage_folder.ts";

/** A host shows another key than the one that is pinned, and nothing was signed for it. */
export class HostKeyChanged extends Failure {
  /** Name of the host. */
  readonly host: string;

  /** Makes one, with both fingerprints. */
  constructor(host: string, found: Uint8Array<ArrayBuffer>, pinned: Uint8Array<ArrayBuffer>, path: string) {
    super(
      `refused: the key of ${host} has changed: found ${fingerprint(found)}, pinned is ${
        fingerprint(pinned)
      } in ${path}`,
      {
        hint: `if ${host} was set up anew, --accept-key pins the new key; else somebody may stand in between`,
      },
    );
    this.name = "HostKeyChanged";
    this.host = host;
  }
}

/** What is to be done about a host's key once it has shown that it has it. */
export interface KeyFinding {
  /** Stores the key where that is due; does nothing otherwise. */
  pin(): Promise<void>;
}

/** What the key of a host is compared with. */
export interface KeyCheck {
  readonly folder: ManageFolder;
  readonly host: string;
  /** As the server says, 32 bytes. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** Takes a new key in the place of the pinned one. */
  readonly acceptKey: boolean;
  readonly onNotice: (line: string) => void;
}

/**
 * Compares a host's key with the pinned one. To be done before anything is signed for that key; `pin` when the host has
 * answered with it.
 *
 * @throws {HostKeyChanged} if it is another one and is not to be accepted; {Failure} if it is that of another host and is
 * not to be accepted, or the file cannot be used
 */
export function checkHostKey({ folder, host, key, acceptKey, onNotice }: KeyCheck): KeyFinding {
  const { knownHostsPath: path } = folder;
  const known = knownHosts(readText(path) ?? "", path);
  const pinned = known.get(host);
  if (pinned !== undefined && isSameBytes(pinned, key)) return { pin: async (): Promise<void> => {} };
  if (pinned !== undefined && !acceptKey) throw new HostKeyChanged(host, key, pinned, path);
  const others = namesOf(known, key);
  if (others.length > 0 && !acceptKey) throw keyOfAnother(host, others, key);
  return {
    async pin(): Promise<void> {
      await store({ folder, host, key, acceptKey, onNotice }, pinned);
      onNotice(
        pinned === undefined
          ? `first session with ${host}: its key is pinned, ${fingerprint(key)}`
          : `the new key of ${host} is pinned, ${fingerprint(key)}; before it was ${fingerprint(pinned)}`,
      );
      if (others.length > 0) onNotice(`warning: the same key is pinned for ${others.join(", ")}`);
    },
  };
}

function namesOf(known: ReadonlyMap<string, Uint8Array>, key: Uint8Array): string[] {
  return [...known].filter(([, each]) => isSameBytes(each, key)).map(([name]) => name);
}

/** A server that lies could have run on a host that is known what was meant for one that is met first. */
function keyOfAnother(host: string, others: readonly string[], key: Uint8Array<ArrayBuffer>): Failure {
  const names = others.join(", ");
  return new Failure(`refused: ${host} has the key that is pinned for ${names}, ${fingerprint(key)}`, {
    hint:
      `if ${names} is called ${host} now, --accept-key pins it under this name too; else the server names the wrong host`,
  });
}

/** Line by line, so that what an operator has written around it stays. */
async function store(
  { folder, host, key, acceptKey }: KeyCheck,
  replaced: Uint8Array<ArrayBuffer> | undefined,
): Promise<void> {
  const { knownHostsPath: path } = folder;
  await folder.locked(() => {
    const text = readText(path) ?? "";
    const known = knownHosts(text, path), now = known.get(host), others = namesOf(known, key);
    if (now !== undefined && isSameBytes(now, key)) return;
    // Another command has met another key meanwhile.
    if (now !== undefined && (replaced === undefined || !isSameBytes(now, replaced))) {
      throw new HostKeyChanged(host, key, now, path);
    }
    if (others.length > 0 && !acceptKey) throw keyOfAnother(host, others, key);
    const lines = text.split("\n").filter((line) => nameOf(line) !== host);
    while (lines.at(-1) === "") lines.pop();
    writeText(path, [...lines, `${host} ${formatPublicKey(key)}`, ""].join("\n"));
  });
}

function knownHosts(text: string, path: string): Map<string, Uint8Array<ArrayBuffer>> {
  const known = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [index, line] of text.split("\n").entries()) {
    const name = nameOf(line);
    if (name === null) continue;
    const key = keyOf(line);
    // A line that nobody understands may have been somebody's pin: to pass it over would be to forget it.
    if (!isName(name) || key === null || known.has(name)) {
      throw new Failure(
        `cannot use ${path}: line ${index + 1} is ${
          known.has(name) ? `a second one for ${name}` : "no pin"
        }, ` +
          "accepted are NAME and a key of 43 characters, one line each",
        { hint: "take the line away, or restore it from a backup" },
      );
    }
    known.set(name, key);
  }
  return known;
}

/** Null of a comment or an empty line. */
function nameOf(line: string): string | null {
  const text = line.trim();
  return text === "" || text.startsWith("#") ? null : text.split(/\s+/, 1)[0] ?? null;
}

function keyOf(line: string): Uint8Array<ArrayBuffer> | null {
  const [, text, ...rest] = line.trim().split(/\s+/);
  if (text === undefined || rest.length > 0) return null;
  try {
    return parsePublicKey(text);
  } catch {
    return null;
  }
}
