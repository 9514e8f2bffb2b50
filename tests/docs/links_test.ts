/** Links from page to page, to files and to headings, lead somewhere. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";

/** The anchor that GitHub gives a heading. */
function anchorOf(heading: string): string {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(/\s/g, "-");
}

async function pages(): Promise<string[]> {
  const found: string[] = [];
  for (const folder of ["", "docs/"]) {
    for await (const { name } of Deno.readDir(repositoryFolder + folder)) {
      if (name.endsWith(".md")) found.push(folder + name);
    }
  }
  return found.sort();
}

for (const page of await pages()) {
  Deno.test(`every link of ${page} leads to a file and a heading that are there`, async () => {
    const text = await Deno.readTextFile(repositoryFolder + page);
    const broken: string[] = [];
    for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const url = new URL(path === "" ? page.replace(/.*\//, "") : path, `file://${repositoryFolder}${page}`);
      const info = await Deno.stat(url).catch(() => null);
      if (info === null) broken.push(target);
      else if (anchor !== undefined) {
        const headings = (await Deno.readTextFile(url)).matchAll(/^#+ (.*)$/gm);
        if (![...headings].some(([, heading = ""]) => anchorOf(heading) === anchor)) broken.push(target);
      }
    }
    assert.deepEqual(broken, []);
  });
}
