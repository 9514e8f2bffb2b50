/** A process of its own that takes the lock named by its first argument, says so, and holds it until killed. */
import { Failure } from "../../src/system/failure.ts";
import { acquireLock } from "../../src/system/lock.ts";

const path = Deno.args[0] ?? "";
try {
  using _lock = await acquireLock(path, { timeoutMs: 5000 });
  await Deno.stdout.write(new TextEncoder().encode("held\n"));
  await new Promise((resolve) => setTimeout(resolve, 60_000));
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  await Deno.stderr.write(new TextEncoder().encode(`error: ${error.message}\nhint: ${error.hint}\n`));
  Deno.exit(1);
}
