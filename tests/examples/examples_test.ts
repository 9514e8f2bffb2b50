import assert from "node:assert/strict";
import { Example } from "./example.ts";

Deno.test("examples/loopback.ts prints a sum and a countdown when run as it says", async () => {
  await using loopback = await Example.start("loopback.ts");
  assert.equal(await loopback.finished(), "1 + 2 = 3\n3\n2\n1\n");
});

Deno.test("examples/connect.ts is greeted and refused when examples/serve.ts runs", async () => {
  await using server = await Example.start("serve.ts", { args: ["127.0.0.1:0"] });
  const address = /listening on (\S+)\n/.exec(await server.printed("\n"))?.[1] ?? "";
  await using client = await Example.start("connect.ts", { args: [address] });
  assert.equal(await client.finished(), "Hello, world!\nrefused (no_name): whom shall I greet?\n");
});

Deno.test("examples/handshake_policy.ts refuses strangers and a second client when run as it says", async () => {
  await using policy = await Example.start("handshake_policy.ts");
  assert.equal(
    await policy.finished(),
    [
      "stranger: authentication_failed",
      'first: drawer "right" is open',
      "second: taken",
      'second, later: drawer "left" is open',
      "",
    ].join("\n"),
  );
});

for (const [first, second] of [["host.ts", "guest.ts"], ["guest.ts", "host.ts"]] as const) {
  Deno.test(`examples/${first} and examples/${second} find each other when started in this order`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const env = { XDG_RUNTIME_DIR: folder };
      await using one = await Example.start(first, { env });
      await using other = await Example.start(second, { env });
      const printed = new Map([[first, await one.finished()], [second, await other.finished()]]);
      assert.deepEqual(printed.get("host.ts")?.split("\n").sort(), [
        "",
        "the guest adds up: 6",
        "the guest reports: ready",
      ]);
      assert.equal(printed.get("guest.ts"), "the host was told\n");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("examples/plugin/host.ts gets its text back from a plugin without permissions when run as it says", async () => {
  // The command says `deno`, which need not be installed under that name.
  const folder = await Deno.makeTempDir();
  try {
    await Deno.symlink(Deno.execPath(), `${folder}/deno`);
    await using host = await Example.start("plugin/host.ts", {
      env: { PATH: `${folder}:${Deno.env.get("PATH")}` },
    });
    assert.equal(await host.finished(), "Good morning: the plugin lives\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("examples/images/client.ts gets its image inverted when examples/images/server.ts runs", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const args = [`${folder}/images.sock`];
    await using server = await Example.start("images/server.ts", { args });
    await server.printed("listening on");
    await using client = await Example.start("images/client.ts", { args });
    assert.equal(
      await client.finished(),
      "darkest pixels: 4096 of 1048576\nfirst pixels: 0 1 2 and inverted: 255 254 253\n",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
