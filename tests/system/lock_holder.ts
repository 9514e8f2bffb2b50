/** A process of its own that takes the lock named by its first argument, says so, and holds it until killed. */
import { acquireLock } from "../../src/system/lock.ts";

const path = Deno.args[0] ?? "";
using _lock = await acquireLock(path, { timeoutMs: 5000 });
await Deno.stdout.write(new TextEncoder().encode("held\n"));
await new Promise((resolve) => setTimeout(resolve, 60_000));
