import assert from "node:assert/strict";
import { Chromium, CHROMIUM_MISSING } from "../chromium.ts";
import { Example } from "./example.ts";

Deno.test({
  name: `examples/browser talks with its page in a real Chromium, both ways${CHROMIUM_MISSING}`,
  ignore: CHROMIUM_MISSING !== "",
  fn: async () => {
    await using server = await Example.start("browser/server.ts");
    const url = /open (\S+)\n/.exec(await server.printed("/\n"))?.[1] ?? "";
    await using _chromium = await Chromium.open(url);
    const printed = await server.printed("a page shows:").then(() => server.printed("3 2 1\n"));
    assert.equal(
      printed,
      `open ${url}\na page shows: Postern in a browser ` +
        'Hello, browser! Your page is called "Postern in a browser". 3 2 1\n',
    );
  },
});
