/** Other people's programs: whether they are there, and whether they listen. */
import { sleep } from "../sleep.ts";

const EVERY_MS = 20;

/** Why a program is not there, or null. */
export function missingProgram(name: string, how: string): string | null {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  return folders.some((folder) => isFile(`${folder}/${name}`)) ? null : `${name} is not installed: ${how}`;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Whether somebody took a connection on this port of loopback before the time was over. */
export async function listensWithin(timeoutMs: number, port: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    } catch {
      await sleep(EVERY_MS);
    }
  }
  return false;
}
