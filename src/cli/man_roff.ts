/** Text as the `man` macros of roff take it. */

/** A section of a page; its lines are roff already. */
export interface ManSection {
  readonly title: string;
  readonly lines: readonly string[];
}

/**
 * A whole page. The date is left empty, so that the same sources make the same bytes; the version says how old it is.
 *
 * @param source program and version, for the footer
 */
export function manPage(name: string, source: string, sections: readonly ManSection[]): string {
  return [
    `.TH ${argument(name.toUpperCase())} 1 "" ${argument(source)} "Postern"`,
    // Names of programs and options are not to be cut.
    ".nh",
    ...sections.flatMap(({ title, lines }) => [`.SH ${argument(title)}`, ...lines]),
  ].join("\n") + "\n";
}

/** A line of running text; what is between backticks is bold. */
export function prose(text: string): string {
  return line(text.split("`").map((part, i) => i % 2 === 0 ? escaped(part) : bold(part)).join(""));
}

/** Paragraphs of running text. */
export function paragraphs(texts: readonly string[]): string[] {
  return texts.flatMap((text, i) => i === 0 ? [prose(text)] : [".PP", prose(text)]);
}

/** A list of terms; `term` is roff already. */
export function terms(entries: readonly (readonly [term: string, text: string])[]): string[] {
  return entries.flatMap(([term, text]) => [".TP", line(term), prose(text)]);
}

/** Lines that are typed or read as they are. */
export function literal(lines: readonly string[]): string[] {
  return [".PP", ".RS 4", ".nf", ...lines.map((each) => line(bold(each))), ".fi", ".RE"];
}

/** Words of a usage line: options are bold, names of values are italic. */
export function usageWords(text: string): string {
  return text.replace(
    /(--?[a-z0-9][a-z-]*)|([A-Z][A-Z:,]*)|([^A-Z-]+|.)/gi,
    (all, option?: string, value?: string) =>
      option !== undefined
        ? bold(all)
        : value !== undefined && value === value.toUpperCase()
        ? italic(all)
        : escaped(all),
  );
}

export function bold(text: string): string {
  return `\\fB${escaped(text)}\\fR`;
}

export function italic(text: string): string {
  return `\\fI${escaped(text)}\\fR`;
}

/** A text in which nothing is an escape of roff; its dashes are those that are typed. */
export function escaped(text: string): string {
  return text.replaceAll(/[\\'"`^~-]|[^\x20-\x7e]/g, (each) => {
    const named = NAMED[each];
    if (named !== undefined) return named;
    // A line break in the middle of a text could begin a request.
    if (/\s/.test(each)) return " ";
    return `\\[u${(each.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`;
  });
}

const NAMED: Readonly<Record<string, string>> = {
  "\\": "\\e",
  "'": "\\(aq",
  '"': "\\(dq",
  "`": "\\(ga",
  "^": "\\(ha",
  "~": "\\(ti",
  "-": "\\-",
};

/** A line that is text whatever it begins with. */
function line(text: string): string {
  return /^[.']/.test(text) ? `\\&${text}` : text;
}

/** One argument of a request. */
function argument(text: string): string {
  return `"${escaped(text)}"`;
}
