/** Keeps keys out of whatever is shown, wherever they were typed or put by mistake. */

/**
 * The 40 bytes of a key in base64, also inside of a path or an address. The last letter before the padding has only
 * four values, since it carries two bits. A copied key often lacks its padding and is just as secret.
 */
const KEY_LIKE = /[A-Za-z0-9+/]{53}[AQgw](?:={1,2}|(?![A-Za-z0-9+/=]))/g;
const KEY_LIKE_CHARS = 54;

/** `text` with `<key>` in the place of everything that looks like a key. */
export function withoutKeys(text: string): string {
  return text.length < KEY_LIKE_CHARS ? text : text.replace(KEY_LIKE, "<key>");
}
