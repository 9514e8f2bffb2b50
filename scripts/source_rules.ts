/** Rules about the text and the names of the sources that lint has no rule for. */

/** Names that say where a file was put and not what it is about. */
const EMPTY_NAMES = /^(?:utils?|helpers?|misc|common|shared|lib|stuff)$/;
/** Who prints, and the transport that a child speaks over its pipes. */
const STANDARD_STREAMS = /^src\/(?:cli\/|protocol\/transport\/stdio\.ts$)/;
const DENO = /\bDeno\b/;
const FILE_NAME = /^[a-z0-9]+(?:_[a-z0-9]+)*$/;

/** What only some files may touch: output and exit have one place each, and the protocols run in browsers too. */
const RESERVED: readonly { readonly pattern: RegExp; readonly what: string; readonly allowed: RegExp }[] = [
  { pattern: /\bconsole\./, what: "console", allowed: /^$/ },
  { pattern: /\bDeno\.exit(?:Code)?\b/, what: "Deno.exit", allowed: /^src\/cli\// },
  { pattern: /\bDeno\.stdout\b/, what: "Deno.stdout", allowed: STANDARD_STREAMS },
  { pattern: /\bDeno\.stdin\b/, what: "Deno.stdin", allowed: STANDARD_STREAMS },
  { pattern: /\bDeno\.stderr\b/, what: "Deno.stderr", allowed: /^src\/(?:cli\/|system\/log\.ts$)/ },
  {
    // After the permissions are dropped, and in a bundle, only a literal path can be imported.
    pattern: /\bimport\(\s*[^"'\s)]/,
    what: "import() of a computed path",
    allowed: /^$/,
  },
  { pattern: DENO, what: "Deno", allowed: /^(?!src\/protocol\/)|^src\/protocol\/transport\// },
];

/** What is wrong with the name of a TypeScript file, or null. */
export function fileNameProblem(path: string): string | null {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.ts$/, "");
  if (EMPTY_NAMES.test(name)) return `${path}: a file is named after its concept`;
  if (!FILE_NAME.test(name)) return `${path}: a file name is in snake_case`;
  return null;
}

/** What a source uses that is reserved to other files, in words with line numbers. Comments do not count. */
export function reservedUses(path: string, text: string): string[] {
  return withoutComments(text).split("\n").flatMap((line, index) =>
    RESERVED.filter(({ pattern, allowed }) => pattern.test(line) && !allowed.test(path))
      .map(({ what }) => `${path}:${index + 1}: ${what} is not for this file`)
  );
}

/** Where a source that pages load at once names Deno, which is not there, in words with line numbers. */
export function denoUses(path: string, text: string): string[] {
  return withoutComments(text).split("\n").flatMap((line, index) =>
    DENO.test(line) ? [`${path}:${index + 1}: Deno is not for what a browser loads`] : []
  );
}

/** The same lines, with blanks in place of each comment that has lines of its own. */
function withoutComments(text: string): string {
  return text.replace(
    /^[ ]*(?:\/\*[\s\S]*?\*\/|\/\/.*$)/gm,
    (comment) => comment.replace(/[^\n]/g, " "),
  );
}
