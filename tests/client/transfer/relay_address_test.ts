/** Which relay is meant. */
import assert from "node:assert/strict";
import { namedRelay, requireRelay } from "../../../src/client/transfer/relay_address.ts";
import { UsageFailure } from "../../../src/system/failure.ts";

const ACCEPTED: readonly (readonly [text: string, address: string])[] = [
  ["relay.example:8080", "relay.example:8080"],
  ["192.0.2.1:1", "192.0.2.1:1"],
  ["[2001:DB8::1]:65535", "[2001:DB8::1]:65535"],
  ["localhost:80", "localhost:80"],
];
for (const [text, address] of ACCEPTED) {
  Deno.test({
    name: `namedRelay() takes ${text} from the command line, without any permission`,
    permissions: "none",
    fn(): void {
      assert.deepEqual(namedRelay(text), { address, from: "--relay" });
    },
  });
}

const REFUSED: readonly (readonly [text: string, found: RegExp, hint: string | undefined])[] = [
  ["relay.example", /found no port/, "--relay relay.example:8080"],
  ["2001:db8::1", /found no port/, "--relay [2001:db8::1]:8080"],
  ["relay.example:0", /found port "0"/, undefined],
  ["relay.example:", /found a colon without a port/, undefined],
  [":8080", /found no host/, undefined],
  ["a b:1", /host name with characters/, undefined],
  ["[::1]", /brackets without a port/, undefined],
  ["1.2.3:80", /like an IP address that is none/, undefined],
];
for (const [text, found, hint] of REFUSED) {
  Deno.test(`namedRelay() refuses ${text} and says what is accepted`, () => {
    assert.throws(() => namedRelay(text), (error: unknown) => {
      assert(error instanceof UsageFailure);
      assert.match(error.message, found);
      assert.match(error.message, /^cannot use --relay ".*": found .*, accepted: HOST:PORT, /);
      assert.equal(error.hint, hint);
      return true;
    });
  });
}

Deno.test({
  name: "namedRelay() looks into the environment where it may, and the command line comes first",
  permissions: { env: ["POSTERN_RELAY"] },
  fn(): void {
    Deno.env.set("POSTERN_RELAY", "relay.example:8080");
    try {
      assert.deepEqual(namedRelay(undefined), { address: "relay.example:8080", from: "POSTERN_RELAY" });
      assert.equal(namedRelay("other.example:1")?.address, "other.example:1");
      Deno.env.set("POSTERN_RELAY", "relay.example");
      assert.throws(() => namedRelay(undefined), /cannot use POSTERN_RELAY "relay.example": found no port/);
      Deno.env.set("POSTERN_RELAY", "");
      assert.equal(namedRelay(undefined), null);
    } finally {
      Deno.env.delete("POSTERN_RELAY");
    }
  },
});

Deno.test({
  name: "requireRelay() says how to start one and name it, and prompts nobody",
  permissions: "none",
  fn(): void {
    assert.equal(requireRelay("h:1", "postern client share"), "h:1");
    assert.throws(() => requireRelay(undefined, "postern client share PATH"), (error: unknown) => {
      assert(error instanceof UsageFailure);
      assert.match(
        error.message,
        /no relay is named, accepted: --relay HOST:PORT, or the variable POSTERN_RELAY$/,
      );
      assert.match(error.hint ?? "", /^postern client share PATH --relay HOST:8080;/);
      assert.deepEqual(error.hintLines, ["  postern server relay"]);
      return true;
    });
  },
});
