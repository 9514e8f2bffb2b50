/** The commands of an administrator as real processes, each with exactly the permissions it ships with. */
import assert from "node:assert/strict";
import { fingerprint, formatPublicKey, SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import type { ExecOutput } from "../../../src/protocol/manage/session_contract.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { Program, type StartOptions } from "../../cli/transfer_programs.ts";
import { until } from "../../e2e/until.ts";
import { type ManageStage, manageStage } from "./manage_stage.ts";
import type { HostHandlers } from "./stand_in_server.ts";

const encoder = new TextEncoder();

function start(
  on: ManageStage,
  words: readonly string[],
  options: Partial<StartOptions> = {},
): Promise<Program> {
  const at = words.indexOf("--"), end = at === -1 ? words.length : at;
  const line = ["client", ...words.slice(0, end), "--dir", on.folder.path, ...words.slice(end)];
  return Program.start(line, { folder: "/", ...options });
}

/** Says what it was given, on both streams. */
const echo: HostHandlers["exec"] = async function* ({ command }, items): AsyncGenerator<ExecOutput> {
  let bytes = 0;
  for await (const item of items) bytes += item.length;
  yield { stdout: encoder.encode(`${JSON.stringify(command)} ${bytes}\n`) };
  yield { stderr: encoder.encode("oops\n") };
  yield { exitCode: 9 };
};

Deno.test("client exec passes everything through and ends with the program's exit code", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", { exec: echo });
  await using first = await start(on, ["exec", "web1", "--", "a b", "-c", "--", ""], { stdin: "12345" });
  await first.ends(9);
  assert.equal(first.stdout, `["a b","-c","--",""] 5\n`);
  assert.equal(
    first.stderr,
    `first session with web1: its key is pinned, ${fingerprint(host.key.publicKey)}\noops\n`,
  );
  assert.match(await Deno.readTextFile(on.folder.headPath), /^0000000000000001/);
  await using again = await start(on, ["exec", "web1", "--", "true"]);
  await again.ends(9);
  assert.equal(again.stderr, "oops\n");
});

Deno.test("client exec says how a line of a shell is run where it was taken for a program", async () => {
  await using on = await manageStage();
  const found: HostHandlers["exec"] = async function* (): AsyncGenerator<ExecOutput> {
    yield { exitCode: 127 };
  };
  await on.server.host("web1", { exec: found });
  await using line = await start(on, ["exec", "web1", "--", "ls | wc"]);
  await line.ends(127);
  assert.match(
    line.stderr,
    /^hint: it runs without a shell; .*: postern client exec web1 -- sh -c 'ls \| wc'\n/m,
  );
  await using program = await start(on, ["exec", "web1", "--", "lss", "-l"]);
  await program.ends(127);
  assert.equal(program.stderr, "");
});

Deno.test("client exec ends with the program, though its standard input stays open", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {
    exec: async function* (): AsyncGenerator<ExecOutput> {
      yield { exitCode: 0 };
    },
  });
  await using program = await start(on, ["exec", "web1", "--", "true"], { stdin: null });
  await program.ends(0);
});

Deno.test("client exec refuses a changed key with 255, and names the command that accepts it", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", { exec: echo });
  await on.open({ host: "web1" });
  const before = host.key.publicKey;
  host.key = await SigningKey.generate(systemRandomBytes);
  await using refused = await start(on, ["exec", "web1", "--", "echo", "a b"]);
  await refused.ends(255);
  assert.equal(refused.stdout, "");
  const accept = `postern client exec web1 --accept-key --dir ${on.folder.path} -- echo 'a b'`;
  assert.equal(
    refused.stderr,
    `error: refused: the key of web1 has changed: found ${fingerprint(host.key.publicKey)}, pinned is ` +
      `${fingerprint(before)} in ${on.folder.knownHostsPath}\n` +
      `hint: somebody may stand in between; if web1 was set up anew, this accepts its new key: ${accept}\n`,
  );
  await using accepted = await start(on, ["exec", "web1", "--accept-key", "--", "true"]);
  await accepted.ends(9);
  assert.match(accepted.stderr, /^the new key of web1 is pinned, SHA256:/);
});

Deno.test("client exec ends with 255 when no session is to be had, and with 2 for a wrong line", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", { exec: echo });
  host.refusal = ["refused_by_host", "exec not allowed by its agent.toml"];
  const lines: readonly (readonly [words: string[], code: number, stderr: RegExp])[] = [
    [
      ["exec", "web1", "--", "true"],
      255,
      /^error: web1 refuses: exec not allowed by its agent\.toml\nhint: agent\.toml on web1/,
    ],
    [["exec", "wbe1", "--", "true"], 255, /the nearest: web1\nhint: did you mean: web1\n$/],
    [["exec", "web1"], 2, /no PROGRAM is named/],
    [["exec", "--", "true"], 2, /found neither HOST nor --all-tagged/],
    [["exec", "web1", "--all-tagged", "prod", "--", "true"], 2, /found both HOST and --all-tagged/],
    [["exec", "web1", "--json", "--", "true"], 2, /found --json without --all-tagged/],
    [["exec", "Web1", "--", "true"], 2, /found a HOST that is no name/],
  ];
  for (const [words, code, stderr] of lines) {
    await using program = await start(on, words);
    await program.ends(code);
    assert.match(program.stderr, stderr);
    assert.equal(program.stdout.replace(/^\{"error".*\}\n$/, ""), "");
  }
  // To the server none of them was a link that was lost.
  assert(on.server.links.length > 0);
  for (const { link } of on.server.links) assert.equal((await link.closed).code, "cancelled");
  await Deno.remove(on.folder.serverPath);
  await using alone = await start(on, ["exec", "web1", "--", "true"]);
  await alone.ends(255);
  assert.match(alone.stderr, /^error: no management server is known/);
});

Deno.test("client exec ends with 255 and the reason when the link is lost in the middle", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {
    exec: async function* (): AsyncGenerator<ExecOutput> {
      yield { stdout: encoder.encode("begun\n") };
      await new Promise(() => {});
    },
  });
  await using program = await start(on, ["exec", "web1", "--", "true"], { stdin: null });
  await program.says("stdout", /begun/);
  on.server.links[0]?.link.close("shutting_down", "the server is restarted");
  await program.ends(255);
  assert.match(
    program.stderr,
    /error: .*the server is restarted.*; what ran on web1 ends with its session\nhint: /,
  );
});

Deno.test("client exec ends the program on the host at Ctrl-C, in order, and ends with 130", async () => {
  await using on = await manageStage();
  const ended = Promise.withResolvers<void>();
  await on.server.host("web1", {
    exec: async function* (_, _items, { signal }): AsyncGenerator<ExecOutput> {
      signal.addEventListener("abort", () => ended.resolve(), { once: true });
      yield { stdout: encoder.encode("begun\n") };
      await ended.promise;
    },
  });
  await using program = await start(on, ["exec", "web1", "--", "sleep"], { stdin: null });
  await program.says("stdout", /begun/);
  program.kill("SIGINT");
  await program.ends(130);
  await ended.promise;
  const closed = await on.server.sessions[0]?.peer.closed;
  assert.deepEqual([closed?.reason, closed?.by], ["normal", "there"]);
});

Deno.test("client exec --all-tagged prints lines behind names, and sums up what failed", async () => {
  await using on = await manageStage();
  const tags = ["prod"];
  await on.server.host("db1", {
    exec: async function* (): AsyncGenerator<ExecOutput> {
      yield { stdout: encoder.encode("one\ntwo") };
      yield { exitCode: 0 };
    },
  }, { tags });
  await on.server.host("web1", { exec: echo }, { tags });
  await on.server.host("web2", {}, { tags, online: false, sinceMs: null });
  await using program = await start(on, ["exec", "--all-tagged", "prod", "--", "uptime"], {
    stdin: "ignored",
  });
  await program.ends(1);
  assert.deepEqual(program.stdout.split("\n").toSorted(), ["", "db1: one", "db1: two", 'web1: ["uptime"] 0']);
  const [offline, hint, ...others] = program.stderr.trimEnd().split("\n");
  assert.equal(offline, "error: web2 is offline: it has never connected to the server");
  assert.match(hint ?? "", /^hint: on web2 run postern commander agent/);
  assert.equal(others.at(-1), "error: it failed on 2 of 3 hosts: web1 (exit code 9), web2");
  assert(others.includes("web1: oops"));
});

Deno.test("client exec --all-tagged --json prints one object a host", async () => {
  await using on = await manageStage();
  const tags = ["prod"];
  await on.server.host("bin1", {
    exec: async function* (): AsyncGenerator<ExecOutput> {
      yield { stdout: Uint8Array.of(0, 255) };
      yield { exitCode: 0 };
    },
  }, { tags });
  await on.server.host("big1", {
    exec: async function* (): AsyncGenerator<ExecOutput> {
      for (let i = 0; i < 40; i++) yield { stdout: new Uint8Array(64 * 1024).fill(0x78) };
      yield { exitCode: 0 };
    },
  }, { tags });
  await on.server.host("gone1", {}, { tags, online: false, sinceMs: null });
  await using program = await start(on, ["exec", "--all-tagged", "prod", "--json", "--", "uptime"]);
  await program.ends(1);
  const byHost = new Map(program.events.map((event) => [event["host"], event]));
  assert.deepEqual(byHost.get("bin1"), { host: "bin1", exitCode: 0, stdoutBase64: "AP8=", stderr: "" });
  const { stdout, ...big } = byHost.get("big1") ?? {};
  assert.equal(stdout, "x".repeat(1024 * 1024));
  assert.deepEqual(big, { host: "big1", exitCode: 0, stdoutCutBytes: 24 * 64 * 1024, stderr: "" });
  assert.deepEqual(byHost.get("gone1"), {
    host: "gone1",
    error: "gone1 is offline: it has never connected to the server",
    hint: "on gone1 run postern commander agent --join TOKEN, then postern commander agent",
    stdout: "",
    stderr: "",
  });
  assert.equal(byHost.size, 3);
});

Deno.test("client hosts prints a table, or one array as JSON", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {}, { tags: ["prod"], sessions: 2 });
  await using table = await start(on, ["hosts"]);
  await table.ends(0);
  assert.match(table.stdout, /^NAME +STATE +SINCE .*\nweb1 +online .* 1\.3 ms +prod +1\.2\.3 +2\n$/);
  await using json = await start(on, ["hosts", "--json"]);
  await json.ends(0);
  assert.deepEqual(JSON.parse(json.stdout), [on.server.hosts.get("web1")?.row]);
});

Deno.test("client hosts --watch prints what changes, line by line", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1");
  await using program = await start(on, ["hosts", "--watch"]);
  await program.says("stdout", /^web1 online since .*, 0 sessions\n/);
  host.row = { ...host.row, online: false };
  on.server.hostsChanged();
  await program.says("stdout", /\nweb1 offline since .*, 0 sessions\n$/);
  program.kill("SIGTERM");
  await program.ends(143);
  assert.equal((await on.server.links[0]?.link.closed)?.code, "cancelled");
});

Deno.test("client join takes the token from standard input, shows it nowhere, and says what is next", async () => {
  await using on = await manageStage();
  await Deno.remove(on.folder.path, { recursive: true });
  const token = on.server.token();
  await using joined = await start(on, ["join", "-"], { stdin: `${token}\n` });
  await joined.ends(0);
  assert.equal(joined.stdout, `joined ${on.server.address} as alice\n`);
  assert.match(joined.stderr, /^the server's key is SHA256:.*, yours is SHA256:/);
  assert.match(joined.stderr, /\nwhat is next:\n {2}postern client hosts --dir /);
  assert(!`${joined.stdout}${joined.stderr}`.includes(token.slice(20, 60)));
  await using identity = await start(on, ["identity"]);
  await identity.ends(0);
  const key = on.server.joins[0]?.key ?? new Uint8Array();
  assert.equal(identity.stdout, `alice:${formatPublicKey(key)}\n`);
  assert.equal(identity.stderr, `its fingerprint is ${fingerprint(key)}\n`);
});

Deno.test("client join takes a token that was broken into lines", async () => {
  await using on = await manageStage();
  await Deno.remove(on.folder.path, { recursive: true });
  const token = on.server.token();
  const stdin = `${token.slice(0, 70)}\r\n  ${token.slice(70)}\r\n`;
  await using joined = await start(on, ["join", "-"], { stdin });
  await joined.ends(0);
});

Deno.test("client join refuses a token that is none, and one that the server refuses", async () => {
  await using on = await manageStage();
  await Deno.remove(on.folder.path, { recursive: true });
  await using wrong = await start(on, ["join", "-"], { stdin: "secret-nonsense" });
  await wrong.ends(2);
  assert.match(wrong.stderr, /^error: cannot read the token: /);
  assert(!wrong.stderr.includes("secret"));
  on.server.refusal = ["token", "it was used with another key"];
  await using refused = await start(on, ["join", on.server.token()]);
  await refused.ends(1);
  assert.match(
    refused.stderr,
    /^error: the server refuses: it was used with another key\nhint: ask the operator/,
  );
});

Deno.test("client exec is ended while it waits for a server that does not answer", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1");
  host.isMute = true;
  await using program = await start(on, ["exec", "web1", "--", "true"], { stdin: null });
  await program.says("stderr", /^waiting for web1 to answer, 10 s at most\n/);
  await until("the link stands", () => on.server.links.length === 1);
  program.kill("SIGTERM");
  await program.ends(143);
});
