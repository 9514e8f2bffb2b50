/** Makes a folder that is the user's alone, as sockets of shared memory want it; it goes when the tests are over. */
export function privateFolder(): string {
  const folder = Deno.makeTempDirSync({ prefix: "postern-ring-" });
  Deno.chmodSync(folder, 0o700);
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  return folder;
}
