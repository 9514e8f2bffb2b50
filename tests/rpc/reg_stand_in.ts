/**
 * Stands in for reg.exe as Microsoft documents it: `query`, `add` and `delete` of REG_SZ values, keys without regard
 * to case, HKCU written out, lines ended by CR LF, exit code 0 or 1, its complaints on standard error. What would ask
 * a question (no /f) fails, since nobody answers. The registry is the JSON file named first.
 */
import { acquireLock } from "../../src/system/lock.ts";

type Registry = Record<string, { readonly key: string; readonly values: Record<string, string> }>;

const [file = "", action = "", shortKey = "", ...flags] = Deno.args;

function fail(words: string): never {
  Deno.stderr.writeSync(new TextEncoder().encode(`ERROR: ${words}\r\n`));
  Deno.exit(1);
}

function valueOf(flag: string): string | undefined {
  const at = flags.findIndex((each) => each.toLowerCase() === flag);
  return at === -1 ? undefined : flags[at + 1];
}

function print(lines: readonly string[]): void {
  Deno.stdout.writeSync(new TextEncoder().encode(lines.map((line) => `${line}\r\n`).join("")));
}

function query(registry: Registry, key: string): void {
  const found = registry[key.toLowerCase()];
  if (found === undefined) fail("The system was unable to find the specified registry key or value.");
  const values = Object.entries(found.values);
  const below = Object.values(registry).filter((each) =>
    each.key.toLowerCase().startsWith(`${key.toLowerCase()}\\`)
  );
  print([
    "",
    found.key,
    ...values.map(([name, data]) => `    ${name}    REG_SZ    ${data}`),
    "",
    ...below.map((each) => each.key),
  ]);
}

function add(registry: Registry, key: string): void {
  const name = valueOf("/v"), type = valueOf("/t"), data = valueOf("/d");
  if (name === undefined || type !== "REG_SZ" || data === undefined) fail("Invalid syntax.");
  const found = registry[key.toLowerCase()] ??= { key, values: {} };
  if (name in found.values && !flags.includes("/f")) fail("Value exists, overwrite(Yes/No)?");
  found.values[name] = data;
  print(["The operation completed successfully."]);
}

function remove(registry: Registry, key: string): void {
  const name = valueOf("/v");
  const found = registry[key.toLowerCase()];
  if (!flags.includes("/f")) fail("Delete the registry value (Yes/No)?");
  if (found === undefined || name === undefined || !(name in found.values)) {
    fail("The system was unable to find the specified registry key or value.");
  }
  delete found.values[name];
  print(["The operation completed successfully."]);
}

using _lock = await acquireLock(`${file}.lock`, { timeoutMs: 10_000 });
const registry: Registry = JSON.parse(await Deno.readTextFile(file));
const key = shortKey.replace(/^HKCU\\/i, "HKEY_CURRENT_USER\\");
if (!key.startsWith("HKEY_")) fail("Invalid key name.");
if (action === "query") query(registry, key);
else if (action === "add") add(registry, key);
else if (action === "delete") remove(registry, key);
else fail("Invalid syntax.");
// At once, because others read it meanwhile.
const whole = `${file}.${Deno.pid}`;
await Deno.writeTextFile(whole, JSON.stringify(registry));
await Deno.rename(whole, file);
