import assert from "node:assert/strict";
import type { Discovery } from "../../src/protocol/rpc/discovery/discovery.ts";
import { DiscoveryError } from "../../src/protocol/rpc/discovery/record_store.ts";
import { registryDiscovery } from "../../src/rpc/discovery_registry.ts";

const STAND_IN = new URL("reg_stand_in.ts", import.meta.url).pathname;
const MATH = {
  name: "MATH",
  transport: "vsock",
  codec: "json",
  addresses: ["2:5000", 'a "quoted" \\ %PATH% & address'],
};
const KEY = "hkey_current_user\\software\\postern\\services\\math";

interface Registry {
  readonly discovery: (leaseMs?: number) => Discovery;
  readonly read: () => Promise<Record<string, { key: string; values: Record<string, string> }>>;
  readonly write: (content: unknown) => Promise<void>;
}

async function withRegistry(test: (registry: Registry) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-registry-" });
  const file = `${folder}/registry.json`;
  await Deno.writeTextFile(file, "{}");
  try {
    await test({
      discovery: (leaseMs = 60_000) =>
        registryDiscovery({
          command: [Deno.execPath(), "run", "-A", "--no-prompt", STAND_IN, file],
          pollMs: 100,
          leaseMs,
        }),
      read: async () => JSON.parse(await Deno.readTextFile(file)),
      write: (content) => Deno.writeTextFile(file, JSON.stringify(content)),
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "registryDiscovery() publishes, finds and withdraws through reg.exe",
  timeout: 60_000,
  async fn(): Promise<void> {
    await withRegistry(async ({ discovery, read }) => {
      const reader = discovery();
      assert.deepEqual(await reader.resolve("MATH"), [], "no such key yet");
      const coming = reader.waitFor("MATH", { timeoutMs: 30_000 });
      const registration = await discovery().publish(MATH);
      assert.deepEqual(await coming, [registration.record]);
      const { key, values } = (await read())[KEY] ?? {};
      assert.equal(key, "HKEY_CURRENT_USER\\Software\\Postern\\Services\\MATH");
      assert.deepEqual(Object.keys(values ?? {}), [registration.record.instance]);
      assert.match(
        Object.values(values ?? {})[0] ?? "",
        /^[A-Za-z0-9_-]+$/,
        "nothing a command line would change",
      );
      const second = await discovery().publish({ ...MATH, addresses: ["3:5000"] });
      assert.equal((await reader.resolve("MATH")).length, 2);
      await registration[Symbol.asyncDispose]();
      assert.deepEqual(await reader.resolve("MATH"), [second.record]);
      await second[Symbol.asyncDispose]();
      assert.deepEqual(await reader.resolve("MATH"), []);
      assert.deepEqual((await read())[KEY]?.values, {});
    });
  },
});

Deno.test({
  name: "registry keys know no case, names do",
  timeout: 60_000,
  async fn(): Promise<void> {
    await withRegistry(async ({ discovery }) => {
      const registration = await discovery().publish(MATH);
      assert.deepEqual(await discovery().resolve("math"), []);
      assert.deepEqual(await discovery().resolve("MATH"), [registration.record]);
      await registration[Symbol.asyncDispose]();
    });
  },
});

Deno.test({
  name: "a record whose publisher crashed leaves the registry after its lease",
  timeout: 60_000,
  async fn(): Promise<void> {
    await withRegistry(async ({ discovery, read, write }) => {
      const registration = await discovery(1_000).publish(MATH);
      const crashed = await read();
      await registration[Symbol.asyncDispose]();
      await write(crashed);
      const changes = discovery(1_000).watch("MATH");
      let records = (await changes.next()).value;
      while (records === undefined || records.length > 0) records = (await changes.next()).value;
      // Removing follows; the store is read until it has.
      for (let tries = 0; tries < 50 && Object.keys((await read())[KEY]?.values ?? {}).length > 0; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.deepEqual((await read())[KEY]?.values, {});
      await changes.return?.();
    });
  },
});

Deno.test({
  name: "lines of reg.exe that are no record of ours are passed over",
  timeout: 60_000,
  async fn(): Promise<void> {
    await withRegistry(async ({ discovery, read, write }) => {
      const registration = await discovery().publish(MATH);
      const registry = await read();
      const entry = registry[KEY];
      assert(entry !== undefined);
      const [good = ""] = Object.values(entry.values);
      Object.assign(entry.values, {
        "(Default)": "text with    REG_SZ    in it",
        ["0".repeat(32)]: "not base64url!",
        ["1".repeat(32)]: "AAAA",
        ["2".repeat(32)]: good, // a record of another instance
        ["3".repeat(32)]: "A".repeat(10_000),
        ["4".repeat(32)]: "",
      });
      await write(registry);
      assert.deepEqual(await discovery().resolve("MATH"), [registration.record]);
      await registration[Symbol.asyncDispose]();
    });
  },
});

Deno.test({
  name: "a reg.exe that does not end is killed and told of",
  timeout: 30_000,
  async fn(): Promise<void> {
    const hanging = registryDiscovery({ command: ["sh", "-c", "exec sleep 60"], timeoutMs: 100 });
    await assert.rejects(hanging.resolve("MATH"), /cannot run sh: it did not end within 100 ms$/);
  },
});

Deno.test("registryDiscovery() says that the program is missing, or that it failed", async () => {
  const missing = registryDiscovery({ command: ["no-such-reg.exe"] });
  await assert.rejects(missing.resolve("MATH"), (error: unknown) => {
    assert(error instanceof DiscoveryError);
    assert.match(error.message, /^cannot run no-such-reg\.exe: /);
    return true;
  });
  const failing = registryDiscovery({ command: ["false"] });
  await assert.rejects(
    failing.publish(MATH),
    /^DiscoveryError: cannot publish "MATH": reg.exe add ended with 1$/,
  );
});
