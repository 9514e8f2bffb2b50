/** A folder with all that is in it, as lines that can be compared. */

/** What is no work of ours: written by a running systemd, or copies that the tools for accounts keep of theirs. */
const NOT_OURS =
  /^(dev|proc|run|sys|tmp)\/|^var\/log\/|^var\/lib\/systemd\/|^var\/cache\/ldconfig|^var\/tmp\/|^etc\/((passwd|group|shadow|gshadow)-|\.pwd\.lock)$/;

/** Path, type, mode, owner and content of everything below `root`; nothing outside, since links are not followed. */
export async function fileTree(root: string, skip: RegExp = /^$/): Promise<string[]> {
  const { stdout } = await new Deno.Command("find", {
    args: [root, "-mindepth", "1", "-printf", "%P\\t%y %m %U:%G %l\\n"],
    stderr: "null",
  }).output();
  const lines: string[] = [];
  for (const line of new TextDecoder().decode(stdout).trim().split("\n").sort()) {
    const [path = "", facts = ""] = line.split("\t");
    if (NOT_OURS.test(path) || NOT_OURS.test(`${path}/`) || skip.test(path)) continue;
    const isSmall = facts.startsWith("f") && (await Deno.lstat(`${root}/${path}`)).size < MAX_HASHED_BYTES;
    lines.push(`${path} ${facts}${isSmall ? await hash(`${root}/${path}`) : ""}`);
  }
  return lines;
}

/** The largest files of a Debian are none that a setup could want to change. */
const MAX_HASHED_BYTES = 1_000_000;

async function hash(path: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();
}
