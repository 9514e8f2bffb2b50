/** Runs the real programs of the machine that the files of an installation are made for. */

/** What a program printed, and how it ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program with nothing on its standard input, or with the given text. */
export async function runProgram(program: string, args: readonly string[], input?: string): Promise<Ended> {
  const child = new Deno.Command(program, {
    args: [...args],
    env: { LC_ALL: "C.UTF-8", SYSTEMD_COLORS: "0", SYSTEMD_PAGER: "cat" },
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Why a test that needs these programs cannot run here, as an end of its name; empty if it can. */
export function missing(...programs: readonly string[]): string {
  const absent = programs.filter((program) => !isThere(program));
  return absent.length === 0 ? "" : ` (skipped: this machine has no ${absent.join(", ")})`;
}

/** The same for what only root may do. */
export function missingForRoot(...programs: readonly string[]): string {
  return Deno.uid() === 0 ? missing(...programs) : " (skipped: needs root)";
}

function isThere(program: string): boolean {
  const folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
  return folders.some((folder) => {
    try {
      return Deno.statSync(`${folder}/${program}`).isFile;
    } catch {
      return false;
    }
  });
}

/** A folder that is gone with the scope. */
export async function scratchFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "postern-deploy-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
