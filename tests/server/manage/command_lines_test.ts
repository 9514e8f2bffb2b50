/** The commands as they are typed, with no permission but that of the folder. */
import assert from "node:assert/strict";
import { encodeHead, signHead } from "../../../src/protocol/manage/audit_head.ts";
import { parseJoinToken, TOKEN_START } from "../../../src/protocol/manage/join_token.ts";
import { dataFolder } from "../../../src/server/manage/data_folder.ts";
import { Registry } from "../../../src/server/manage/registry.ts";
import { readServerKey } from "../../../src/server/manage/server_identity.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

const mainPath = new URL("../../../main.ts", import.meta.url).pathname;

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Types `postern server manage WORDS --dir FOLDER`. */
async function type(folder: string, words: string, more: readonly string[] = []): Promise<Outcome> {
  const grants = [folder, ...more].join(",");
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--cached-only",
      `--allow-read=${grants}`,
      `--allow-write=${folder}`,
      mainPath,
      "server",
      "manage",
      ...words.split(" "),
      "--dir",
      folder,
    ],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("server manage init, invite, list, audit, revoke and rotate-ca as they are typed", {
  timeout: 60_000,
}, async () => {
  await using temporary = await TempFolder.make("typed");
  const path = `${temporary.path}/data`;
  const init = await type(path, "init --address manage.example:7022,[2001:db8::1]:7022");
  assert.deepEqual([init.code, init.stdout], [0, `${path}\n`]);
  assert.match(init.stderr, /read .*policy.toml: it lets every invited administrator do everything/);

  const invited = await type(path, "invite host web1 --tag prod,eu --expires 10m");
  assert.equal(invited.code, 0);
  const token = invited.stdout.trimEnd();
  assert.equal(invited.stdout, `${token}\n`, "the token alone");
  assert.equal(parseJoinToken(token).kind, "host");
  assert.match(invited.stderr, /postern commander agent --join -/);
  assert.ok(!invited.stderr.includes(TOKEN_START));
  const admin = await type(path, "invite admin alice");
  assert.equal(parseJoinToken(admin.stdout).kind, "administrator");
  assert.match(admin.stderr, /postern client join -/);
  const again = await type(path, "invite host web1");
  assert.match(again.stderr, /an earlier token for web1 that nobody had used is worth nothing now/);

  const listed = await type(path, "list --json");
  const { invitations } = JSON.parse(listed.stdout);
  assert.deepEqual(invitations.map(({ role, name }: { role: string; name: string }) => `${role} ${name}`), [
    "host web1",
    "administrator alice",
  ]);
  assert.equal((await type(path, "revoke admin alice")).code, 1);
  const revoked = await type(path, "revoke invite alice");
  assert.deepEqual([revoked.code, revoked.stdout], [0, ""]);
  assert.match((await type(path, "list")).stdout, /^no hosts\n\nno administrators\n\ninvitations:\n/);
  assert.equal((await type(path, "rotate-ca")).code, 0);
  const waiting = await type(path, "rotate-ca");
  assert.equal(waiting.code, 1);
  assert.match(waiting.stderr, /not stored by the unused token for host web1/);
  assert.equal((await type(path, "rotate-ca --finish")).code, 0);
  assert.equal((await type(path, "init --address x:1")).code, 1);

  const rows = (await type(path, "audit --json --limit 3")).stdout.trimEnd().split("\n");
  assert.deepEqual(rows.map((row) => JSON.parse(row).event), ["ca_rotated", "revoked", "ca_rotated"]);
  assert.match((await type(path, "audit --limit 1")).stdout, /^\d+ \S+Z ca_rotated step=finished /);
});

Deno.test(
  "server manage audit --verify ends with 1 when anything is wrong",
  { timeout: 60_000 },
  async () => {
    await using temporary = await TempFolder.make("typed");
    const path = `${temporary.path}/data`, headPath = `${temporary.path}/head`;
    await type(path, "init --address manage.example:7022");
    await type(path, "invite host web1");
    const folder = dataFolder(path);
    using registry = await Registry.open(folder);
    const head = await signHead(registry.audit.head(), await readServerKey(folder));
    await Deno.writeTextFile(headPath, encodeHead(head).toHex());

    const proven = await type(path, `audit --verify --head ${headPath}`, [headPath]);
    assert.deepEqual([proven.code, proven.stderr], [0, ""]);
    assert.match(
      proven.stdout,
      /^OK: 2 rows, .*\nthe head that was kept is row 2: nothing was changed or cut off\n$/,
    );
    assert.match(
      (await type(path, "audit --verify")).stdout,
      /^OK: 2 rows, .*\nthat no rows were cut off .* unproven/,
    );
    assert.equal((await type(path, `audit --head ${headPath}`, [headPath])).code, 2);

    const { DatabaseSync } = await import("node:sqlite");
    const raw = new DatabaseSync(folder.registry);
    raw.exec("DROP TRIGGER audit_is_never_cut; DELETE FROM audit WHERE number = 2");
    raw.close();
    const cut = await type(path, `audit --verify --head ${headPath}`, [headPath]);
    assert.deepEqual([cut.code, cut.stdout], [1, ""]);
    assert.match(cut.stderr, /^error: the audit is not sound: row 2: it and all later ones are missing/);
    const asJson = await type(path, `audit --verify --json --head ${headPath}`, [headPath]);
    assert.equal(asJson.code, 1);
    assert.deepEqual(JSON.parse(asJson.stdout).wrong.row, 2);
  },
);
