/** What somebody sees who has the executable of one role; real processes, in a folder of their own. */
import assert from "node:assert/strict";
import { version } from "./program_version.ts";

const programPath = new URL("./role_program.ts", import.meta.url).pathname;

interface Seen {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function seen(role: string, line: string, flags: readonly string[] = []): Promise<Seen> {
  const folder = await Deno.makeTempDir({ prefix: "postern-role-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", ...flags, programPath, role, ...line.split(" ").filter(Boolean)],
      cwd: folder,
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("an executable tells its version with the commit it was built from, a checkout without", async () => {
  for (
    const [role, text] of [["client", `postern ${version} (commit abc1234)\n`], [
      "-",
      `postern ${version}\n`,
    ]] as const
  ) {
    for (const word of ["--version", "-V", "version"]) {
      assert.deepEqual(await seen(role, word), { code: 0, stdout: text, stderr: "" });
    }
  }
});

Deno.test("an executable refuses the words of another role with 2, and names the one that has them", async () => {
  assert.deepEqual(await seen("client", "doctor"), {
    code: 2,
    stdout: "",
    stderr:
      'error: cannot run "client doctor": this is postern-client, accepted is postern-setup: it runs programs, ' +
      "which the client may not\nhint: postern-setup doctor\n",
  });
  assert.deepEqual(await seen("client", "server"), {
    code: 2,
    stdout: "",
    stderr: 'error: cannot run "server knock": this is postern-client, accepted is postern-server\n' +
      "hint: postern-server\n",
  });
});

Deno.test("an executable tells errors and hints in its own words, also those from deep inside and as JSON", async () => {
  const { stderr } = await seen("client", "send --adress h");
  assert.equal(
    stderr,
    'error: cannot run "postern-client send": unknown option "--adress"\nhint: did you mean --address\n',
  );
  const missing = await seen("client", "send");
  assert.match(missing.stderr, /\nhint: postern-client send --help\n$/);
  const noKey = await seen("client", "send -a 127.0.0.1", ["--allow-net"]);
  assert.match(noKey.stderr, /\nhint: postern-client gen --key-file user\.key makes a new key\n$/);
  const json = await seen("server", "knock --status= --json");
  assert.match(JSON.parse(json.stdout).error, /^cannot run "postern-server knock": /);
});

Deno.test("postern-setup without a word shows its page, and no program called postern is on it", async () => {
  const page = await seen("setup", "");
  assert.equal(page.code, 0);
  assert.match(page.stdout, /^postern-setup: .*\n\nUsage: postern-setup COMMAND \[options\]\n/);
  assert.doesNotMatch(page.stdout, /(?<![\w/])postern [a-z]/);
  assert.deepEqual(await seen("setup", "--help"), page);
});

Deno.test("postern-server without a word is the server, which wants its configuration", async () => {
  const { code, stderr } = await seen("server", "--config none.toml");
  assert.equal(code, 1);
  assert.match(stderr, /^error: cannot read the configuration/);
});
