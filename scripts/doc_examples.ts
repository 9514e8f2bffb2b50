/** The TypeScript examples in documents and doc comments, as programs. */

/**
 * The fenced `ts` blocks of a Markdown file, or of the doc comments of a TypeScript file.
 *
 * @param path tells by its ending which of the two `text` is
 */
export function typescriptBlocks(path: string, text: string): string[] {
  const markdown = path.endsWith(".md") ? text : docComments(text);
  return [...markdown.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);
}

/**
 * The name of the file that a block is, where its first line says so, such as `// server.ts`: other blocks of the same
 * document import it by that name.
 */
export function exampleFileName(block: string): string | null {
  return /^\/\/ ([a-z0-9_]+\.ts)\n/.exec(block)?.[1] ?? null;
}

function docComments(source: string): string {
  return [...source.matchAll(/^[ ]*\/\*\*([\s\S]*?)\*\//gm)]
    .map(([, comment = ""]) => comment.replace(/^[ ]*\* ?/gm, ""))
    .join("\n");
}
