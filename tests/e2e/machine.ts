/** What this machine lets a test do. A test that cannot run here is ignored, with the reason in its name. */

/** Runs a program to its end, without its output. */
export async function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Why no file system can be mounted here, or null. */
export async function mountObstacle(): Promise<string | null> {
  if (Deno.uid() !== 0) return "needs root";
  return await succeeds("unshare", ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"])
    ? null
    : "may not mount here";
}

/** Why no network namespaces with a firewall and a capture can be made here, or null. */
export async function namespaceObstacle(): Promise<string | null> {
  if (Deno.uid() !== 0) return "needs root";
  const probe = `postern-probe-${crypto.randomUUID().slice(0, 8)}`;
  if (!(await succeeds("ip", ["netns", "add", probe]))) return "cannot make network namespaces here";
  try {
    for (const words of [["nft", "list", "ruleset"], ["tcpdump", "--version"]]) {
      if (!(await succeeds("ip", ["netns", "exec", probe, ...words]))) {
        return `${words[0]} does not work here`;
      }
    }
    return null;
  } finally {
    await succeeds("ip", ["netns", "del", probe]);
  }
}

/** Why no terminal can be made here, or null. util-linux's `script` makes one. */
export async function terminalObstacle(): Promise<string | null> {
  try {
    const { success } = await new Deno.Command("script", {
      args: ["-qfec", "true", "/dev/null"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return success ? null : "script of util-linux does not work here";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "script of util-linux is not installed";
    throw error;
  }
}

/** Why none of these programs can be run here, or null. */
export async function programObstacle(...programs: readonly string[]): Promise<string | null> {
  for (const program of programs) {
    if (!(await succeeds("/bin/sh", ["-c", 'command -v "$1"', "sh", program]))) return `has no ${program}`;
  }
  return null;
}

/** Why the machine cannot reach itself over IPv6, or null. */
export function ipv6Obstacle(): string | null {
  try {
    Deno.listenDatagram({ transport: "udp", hostname: "::1", port: 0 }).close();
    return null;
  } catch {
    return "has no ::1";
  }
}

/** The part of a test's definition that says whether it runs here. */
export function unless(obstacle: string | null, name: string): { name: string; ignore: boolean } {
  return { name: obstacle === null ? name : `${name} (ignored: ${obstacle})`, ignore: obstacle !== null };
}
