/**
 * Real shells that complete a line: bash and zsh behind a terminal of their own, where the line is typed and the key
 * that inserts every completion is pressed; fish by what it has for scripts, which needs no terminal.
 */
import type { Shell } from "../../src/cli/completions.ts";

/**
 * What completing a line gave: every word that could stand at its end, sorted, and without what is the custom of one
 * shell only: the = that zsh puts after an option, the letters that it offers beside names, the / of a folder.
 */
export type Completed = readonly string[];

function plain(words: readonly string[]): Completed {
  return words.filter((word) => !/^-[^-]$/.test(word)).map((word) => word.replace(/[=/]$/, "")).toSorted();
}

/** Whether the shell, and what is used to drive it, is on this machine. */
export function hasShell(shell: Shell): boolean {
  const programs = shell === "bash" ? ["bash", "script"] : [shell];
  return programs.every((program) => {
    try {
      return new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync()
        .success;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  });
}

/**
 * Completes each of `lines` in one shell that has loaded `script`.
 *
 * @param folder the folder it works in, which is its home, too
 */
export async function completeIn(
  shell: Shell,
  script: string,
  folder: string,
  lines: readonly string[],
): Promise<Completed[]> {
  return (await DRIVERS[shell](script, folder, lines)).map(plain);
}

type Driver = (script: string, folder: string, lines: readonly string[]) => Promise<string[][]>;

const DRIVERS: Readonly<Record<Shell, Driver>> = {
  bash: completeInBash,
  zsh: completeInZsh,
  fish: completeInFish,
};

const BASH_START = `
PS1='' PS2=''
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind -x '"\\C-o": printf "<<%s>>\\n" "$READLINE_LINE"'
source "$HOME/.script"
PROMPT_COMMAND='echo READY'
`;
/** Inserts all completions, shows the line, empties it. */
const BASH_KEYS = "\x1b*\x0f\x01\x0b";

async function completeInBash(
  script: string,
  folder: string,
  lines: readonly string[],
): Promise<string[][]> {
  await Deno.writeTextFile(`${folder}/.script`, script);
  await Deno.writeTextFile(`${folder}/.start`, BASH_START);
  const child = new Deno.Command("script", {
    args: ["-qec", "bash --noprofile --rcfile .start -i", "/dev/null"],
    cwd: folder,
    env: { HOME: folder, TERM: "dumb", HISTFILE: "", LC_ALL: "C.UTF-8", SHELL: "/bin/sh" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const input = child.stdin.getWriter();
  let seen = "";
  const waitFor = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const match = pattern.exec(seen);
      if (match !== null) {
        seen = seen.slice(match.index + match[0].length);
        return match[1] ?? "";
      }
      const { value, done } = await output.read();
      if (done) throw new Error(`the shell ended early: ${seen}`);
      seen += value;
    }
  };
  const found: string[][] = [];
  await waitFor(/READY/);
  for (const line of lines) {
    await input.write(new TextEncoder().encode(line + BASH_KEYS));
    found.push(addedTo(line, await waitFor(/<<(.*)>>/)));
  }
  await input.write(new TextEncoder().encode("exit\n"));
  await input.close();
  while (!(await output.read()).done);
  await child.status;
  return found;
}

const ZSH_DRIVER = `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; PS2=; unsetopt prompt_sp prompt_cr; cd "$HOME"; fpath=("$HOME/.functions" $fpath)
autoload -Uz compinit; compinit -D -u
zstyle ":completion:all-matches::::" completer _all_matches _complete
zstyle ":completion:all-matches:*" insert true
zle -C all-matches complete-word _generic
bindkey "^Xa" all-matches
show() { print -r -- "<<$BUFFER>>"; zle kill-buffer; }; zle -N show; bindkey "^Xs" show
print READY'
zpty -r shell seen '*READY*READY*'
while IFS= read -r line; do
  zpty -w -n shell "$line"$'\\C-xa\\C-xs'
  zpty -r shell seen '*<<*>>*'
  print -r -- "\${\${seen##*<<}%%>>*}"
done
zpty -d shell
`;

async function completeInZsh(script: string, folder: string, lines: readonly string[]): Promise<string[][]> {
  await Deno.mkdir(`${folder}/.functions`, { recursive: true });
  await Deno.writeTextFile(`${folder}/.functions/_postern`, script);
  await Deno.writeTextFile(`${folder}/.drive`, ZSH_DRIVER);
  const output = await outputOf("zsh", ["-f", ".drive"], folder, lines);
  const completed = output.split("\n").slice(0, -1);
  if (completed.length !== lines.length) throw new Error(`zsh gave ${completed.length} lines: ${output}`);
  return lines.map((line, i) => addedTo(line, completed[i] ?? ""));
}

const FISH_DRIVER = `
source $HOME/.script
while read -l line
    printf '<<\\n'
    complete -C $line
end
`;

async function completeInFish(
  script: string,
  folder: string,
  lines: readonly string[],
): Promise<string[][]> {
  await Deno.writeTextFile(`${folder}/.script`, script);
  await Deno.writeTextFile(`${folder}/.drive`, FISH_DRIVER);
  const output = await outputOf("fish", ["--no-config", ".drive"], folder, lines);
  const [, ...completed] = output.split("<<\n");
  return completed.map((words, i) => {
    const begun = /\S*$/.exec(lines[i] ?? "")?.[0] ?? "";
    // Each with its description behind a tab. If none begins like the word, fish offers those that contain its letters.
    return words.split("\n").slice(0, -1).map((word) => word.split("\t")[0] ?? "")
      .filter((word) => word.startsWith(begun));
  });
}

async function outputOf(
  program: string,
  args: readonly string[],
  folder: string,
  lines: readonly string[],
): Promise<string> {
  const child = new Deno.Command(program, {
    args: [...args],
    cwd: folder,
    env: { HOME: folder, TERM: "dumb", LC_ALL: "C.UTF-8" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  await input.write(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
  await input.close();
  const { stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  const complaints = decoder.decode(stderr);
  if (complaints !== "") throw new Error(`${program} complains: ${complaints}`);
  return decoder.decode(stdout);
}

/** The words at the end of a line with every completion inserted, in the place of the one that was begun. */
function addedTo(line: string, completed: string): string[] {
  if (completed.trimEnd() === line.trimEnd()) return [];
  const before = line.slice(0, line.lastIndexOf(" ") + 1);
  if (!completed.startsWith(before)) throw new Error(`"${line}" became "${completed}"`);
  return completed.slice(before.length).trim().split(/\s+/);
}
