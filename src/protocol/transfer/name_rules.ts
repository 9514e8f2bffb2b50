/**
 * What one name of a peer's path may be. The rules are the same on every system, so that what can be received does not
 * depend on who receives it, and a folder that was received can be copied to any other system.
 */

/** Longest name that every common file system takes, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 255;
/** How the names of our own working folders begin. */
export const WORKING_FOLDER_PREFIX = ".postern-";

/** By what a name is refused, in the order in which it is looked for. */
const FORBIDDEN: readonly { readonly pattern: RegExp; readonly found: string }[] = [
  { pattern: /^$/, found: "an empty name" },
  { pattern: /^\.\.?$/, found: 'a name "." or ".."' },
  // Windows takes it for a separator.
  { pattern: /\\/, found: "a backslash" },
  // Windows: the end of a drive's name (C:), or the begin of an alternate data stream (file:stream).
  { pattern: /:/, found: "a colon" },
  { pattern: /\p{Cc}/u, found: "a control character" },
  // No file system that keeps UTF-8 can hold it, and what is written in its place collides with others.
  { pattern: /\p{Cs}/u, found: "half of a surrogate pair" },
  { pattern: /[\p{Zl}\p{Zp}]/u, found: "a line separator" },
  { pattern: /\p{Noncharacter_Code_Point}/u, found: "a code point that is no character" },
  // Cygwin and WSL keep there what Windows forbids: U+F05C is a backslash to them.
  { pattern: /[\uf000-\uf0ff]/, found: "a private character that some systems take for a separator" },
];

/** What shows nothing, or changes how what is beside it shows; U+2800 is a Braille pattern without dots. */
const INVISIBLE = /[\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/u;
/** Nothing to see; and Windows drops dots and spaces at the end, so that ".. " is ".." there. */
const BLANK = /^[.\p{White_Space}]*$/u;
/** Devices of Windows in every folder, with and without an extension; spaces before that do not count. */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$) *(?:\.|$)/;
/** What Windows may call our working folder for programs of the past: six letters, or two and a hash. */
const SHORT_WORKING_FOLDER = /^po(?:ster|[0-9a-f]{4})~[0-9]/;
/** Nearly every name; nothing in it is folded but capital letters. */
const PLAIN = /^[ -~]*$/;

/**
 * What is wrong with a name.
 *
 * @returns what was found, as in "found a backslash"; null for a name that may be written
 */
export function nameProblem(name: string): string | null {
  for (const { pattern, found } of FORBIDDEN) {
    if (pattern.test(name)) return found;
  }
  if (!PLAIN.test(name) && INVISIBLE.test(withoutAllowedInvisibles(name))) {
    return "an invisible character";
  }
  if (utf8Bytes(name) > MAX_NAME_BYTES) return `a name of more than ${MAX_NAME_BYTES} bytes`;
  return foldedProblem(name);
}

/**
 * Without emoji, which are made of several characters of which some are invisible alone, and without the joiners that
 * Persian and the scripts of India need within words (RFC 5892, appendix A.1 and A.2, as near as it can be had).
 *
 * The patterns stand here, where few names come: to compile them takes 10 ms, which every start would wait for.
 */
function withoutAllowedInvisibles(name: string): string {
  return name.replace(/\p{RGI_Emoji}/gv, "").replace(
    /(?<=[\p{scx=Arab}\p{scx=Syrc}\p{scx=Deva}\p{scx=Beng}\p{scx=Guru}\p{scx=Gujr}\p{scx=Orya}\p{scx=Taml}\p{scx=Telu}\p{scx=Knda}\p{scx=Mlym}\p{scx=Sinh}])[\u200c\u200d](?=[\p{scx=Arab}\p{scx=Syrc}\p{scx=Deva}\p{scx=Beng}\p{scx=Guru}\p{scx=Gujr}\p{scx=Orya}\p{scx=Taml}\p{scx=Telu}\p{scx=Knda}\p{scx=Mlym}\p{scx=Sinh}])/gu,
    "",
  );
}

/** What must be found in any spelling that some system takes for the same. */
function foldedProblem(name: string): string | null {
  const folded = caseless(name);
  if (BLANK.test(folded)) return "a name of dots and spaces alone";
  if (DEVICE.test(folded)) return "the name of a device of Windows";
  if (folded.startsWith(WORKING_FOLDER_PREFIX) || SHORT_WORKING_FOLDER.test(folded)) {
    return `a name that begins with "${WORKING_FOLDER_PREFIX}", as our own working folders do`;
  }
  return null;
}

/**
 * A form that is equal for all names that some file system takes for the same: by letter case (Windows, macOS, ext4
 * with casefold), by Unicode form (macOS; with compatibility: ZFS), by characters that count for nothing (macOS), and
 * by dots and spaces at the end (Windows). For comparing only.
 */
export function foldedName(name: string): string {
  return caseless(name).replace(/[. ]+$/, "");
}

/** Compatibility caseless matching (Unicode 17, section 3.13, D146), and without what is ignored. */
function caseless(name: string): string {
  if (PLAIN.test(name)) return name.toLowerCase();
  const once = foldedCase(name.normalize("NFD")).normalize("NFKD");
  return foldedCase(once).normalize("NFKD").replace(/\p{Default_Ignorable_Code_Point}/gu, "");
}

/**
 * Full case folding, by way of the mappings that the language has. One letter differs: the dotless i, in capitals like
 * the other one, is no form of it.
 */
function foldedCase(text: string): string {
  return text.split("ı").map((part) => part.toLowerCase().toUpperCase().toLowerCase()).join("ı");
}

const encoder = new TextEncoder();

/** Length of a text in bytes of UTF-8. */
export function utf8Bytes(text: string): number {
  return encoder.encode(text).length;
}
