/** Where releases are: the base that `--from` names, checked before anything is read from it. */
import { UsageFailure } from "../../system/failure.ts";
import { quoteVisibly } from "../../system/visible_text.ts";

/** A folder of this machine, or the address of one on a server; both without a slash at the end. */
export type ReleaseLocation =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "server"; readonly base: URL };

const LOOPBACK_HOSTS: readonly string[] = ["127.0.0.1", "[::1]", "localhost"];
const FORMS = "accepted are https://HOST/PATH and file:///PATH (and http:// from this very machine)";

/**
 * Reads the base of releases.
 *
 * The signature protects what is installed whatever carries it. But over plain http anyone on the way could hold
 * back new releases for as long as an old one has not expired, and see which one is fetched; so http serves only
 * where there is no way: on loopback.
 *
 * @throws {UsageFailure} for any other scheme, or an address with a user, a query or a fragment
 */
export function parseReleaseLocation(text: string): ReleaseLocation {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.username !== "" || url.password !== "" || /[?#]/.test(text)) throw refusal(text);
  if (url.protocol === "file:") {
    const path = folderPath(url);
    if (path === null) throw refusal(text);
    return { kind: "folder", path };
  }
  if (!isAllowedServer(url)) throw refusal(text);
  url.pathname = url.pathname.replace(/\/+$/, "");
  return { kind: "server", base: url };
}

/** Whether files may be fetched from there at all. */
export function isAllowedServer(url: URL): boolean {
  return url.protocol === "https:" || (url.protocol === "http:" && LOOPBACK_HOSTS.includes(url.hostname));
}

/** What `--allow-net` has to grant to fetch from a server: `host:port`. */
export function serverScope(base: URL): string {
  return base.port === "" ? `${base.hostname}:${base.protocol === "https:" ? 443 : 80}` : base.host;
}

/** What `text` says, without a password that was typed into it. */
export function visibleLocation(location: ReleaseLocation): string {
  return location.kind === "folder" ? `file://${location.path}` : location.base.href;
}

function folderPath(url: URL): string | null {
  if (url.hostname !== "") return null;
  try {
    const path = decodeURIComponent(url.pathname);
    return path.includes("\0") ? null : path.replace(/\/+$/, "") || "/";
  } catch {
    return null;
  }
}

function refusal(text: string): UsageFailure {
  // Not the text as it is: it may hold a password.
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]{0,20}:/.exec(text)?.[0];
  const found = scheme === undefined
    ? quoteVisibly(text.slice(0, 60))
    : `an address of ${quoteVisibly(scheme)}`;
  return new UsageFailure(`cannot use option --from: found ${found}, ${FORMS}`, {
    hint: text.startsWith("/")
      ? "a folder of this machine is written with file:// before its path, which makes three slashes"
      : "no user, query or fragment in the address",
  });
}
