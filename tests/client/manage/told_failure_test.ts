import assert from "node:assert/strict";
import { firstReason, toldFailure } from "../../../src/client/manage/told_failure.ts";
import { RESET_CODES, type ResetCode, ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { ApplicationError, ConnectionError, RpcError } from "../../../src/protocol/rpc/errors.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
import { Failure } from "../../../src/system/failure.ts";

function failure(error: unknown, host?: string): Failure {
  const told = toldFailure(error, host);
  assert(told instanceof Failure);
  return told;
}

Deno.test("toldFailure() has words for every code, names the host, and never the placeholder", () => {
  for (const code of Object.keys(RESET_CODES) as ResetCode[]) {
    const { message, hint } = failure(new ResetError(code, "there", "what was found"), "web1");
    assert.match(message, /: what was found$/, code);
    assert.doesNotMatch(`${message} ${hint}`, /HOST/, code);
    const short = failure(new ResetError(code, "there", ""));
    assert.notEqual(short.message, "");
    assert.doesNotMatch(`${short.message} ${short.hint}`, /HOST/, code);
  }
});

Deno.test("toldFailure() names the side that refuses, and says it once", () => {
  const host = new ResetError("refused_by_host", "there", "forward not allowed by its agent.toml");
  assert.equal(failure(host, "web1").message, "web1 refuses: forward not allowed by its agent.toml");
  const server = new ResetError("refused_by_server", "there", "the server refuses: not before 18:00");
  assert.equal(failure(server, "web1").message, "the server refuses: not before 18:00");
  // A host that speaks of the server's refusal is still the one that refuses.
  const sly = new ResetError("refused_by_host", "there", "the server refuses: not now");
  assert.equal(failure(sly, "web1").message, "web1 refuses: the server refuses: not now");
  const revoked = new ResetError("revoked", "there", "the server refuses: alice was revoked");
  assert.equal(failure(revoked).message, "the server refuses: alice was revoked");
});

Deno.test("toldFailure() reads calls, connections and transports as what ended them", () => {
  assert.equal(
    failure(new ApplicationError("refused_by_host", "no shell"), "web1").message,
    "web1 refuses: no shell",
  );
  assert.equal(
    failure(new ApplicationError("unreachable", "no route"), "web1").message,
    "web1: no route",
  );
  assert.match(
    failure(new RpcError("disconnected", "it went"), "web1").message,
    /^the link was lost: it went$/,
  );
  assert.match(failure(new ConnectionError("silent", "here", "quiet")).message, /no sign of life: quiet$/);
  const cause = new ResetError("revoked", "there", "alice was revoked");
  assert.match(failure(new TransportError("lost", "gone", { cause })).message, /alice was revoked$/);
  assert.match(failure(new TransportError("lost", "gone")).message, /^the link was lost: gone$/);
  assert.equal(failure(new TransportError("permission", "no net")).message, "no net");
  assert.match(failure(new RpcError("internal", "oops"), "web1").message, /^web1 failed: oops$/);
  assert.match(failure(new RpcError("invalid_argument", "x"), "web1").hint ?? "", /postern --version/);
});

Deno.test("toldFailure() leaves everything else as it is", () => {
  const [failed, bug] = [new Failure("known"), new RangeError("unknown")];
  assert.equal(toldFailure(failed, "web1"), failed);
  assert.equal(toldFailure(bug, "web1"), bug);
});

Deno.test("toldFailure() takes what this side refuses for no refusal of the server", () => {
  const forged = failure(new ResetError("authentication", "here", "cannot link: its proof is wrong"));
  assert.equal(forged.message, "cannot link: its proof is wrong");
  assert.match(forged.hint ?? "", /^somebody may stand in between/);
  const said = failure(new ResetError("authentication", "there", "this key is not known"));
  assert.equal(said.message, "the server refuses: this key is not known");
  assert.match(said.hint ?? "", /new invitation/);
  assert.equal(
    failure(new ResetError("token", "there", "")).message,
    "the server refuses: the token is good no more",
  );
});

Deno.test("firstReason() gives what the link ended with, not that the flow went with it", () => {
  const lost = (cause: Error): ResetError => new ResetError("lost", "there", "lost", { cause });
  const bottom = new ResetError("silent", "there", "silent");
  assert.equal(firstReason(lost(lost(bottom))), bottom);
  const own = lost(new Error("a socket"));
  assert.equal(firstReason(own), own);
  assert.equal(firstReason("x"), "x");
});
