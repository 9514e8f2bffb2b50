import assert from "node:assert/strict";
import { examine, type SetupOptions } from "../../src/setup/preflight.ts";
import { runSetup } from "../../src/setup/setup.ts";
import { describeError, Failure } from "../../src/system/failure.ts";
import { FakeMachine } from "./fake_machine.ts";

const OPTIONS: SetupOptions = {
  root: "/",
  ips: "9.9.9.9",
  port: 34020,
  keyName: "user",
  from: undefined,
  program: { selfExtractingPath: "/root/postern-setup", isCompiled: false, execPath: "/usr/bin/deno" },
};

const FOREIGN_CONFIG =
  'ips = ["9.9.9.9"]\nconfig_dir = "/etc/postern"\nstatus_file = "/var/lib/postern/status.json"\n';
const CHECKOUT = { selfExtractingPath: null, isCompiled: false, execPath: "/usr/bin/deno" };

interface Refusal {
  readonly what: string;
  readonly prepare?: (machine: FakeMachine) => void;
  readonly options?: Partial<SetupOptions>;
  readonly message: RegExp;
  readonly hint?: RegExp;
}

const REFUSALS: readonly Refusal[] = [
  {
    what: "a user who is not root",
    prepare: (m) => m.id = 1000,
    message: /running as uid 1000, accepted is root/,
    hint: /sudo/,
  },
  {
    what: "a machine that systemd does not run",
    prepare: (m) => m.nodes.delete("/run/systemd/system"),
    message: /found no running systemd/,
  },
  {
    what: "a system without systemd-sysusers",
    prepare: (m) => m.nodes.delete("/usr/bin/systemd-sysusers"),
    message: /found no \/usr\/bin\/systemd-sysusers/,
  },
  {
    what: "a port that another program has",
    prepare: (m) => m.isTaken = true,
    message: /cannot listen on UDP port 34020: another program has it/,
    hint: /ss -ulpn/,
  },
  { what: "private addresses only", options: { ips: undefined }, message: /found no address/, hint: /--ips/ },
  {
    what: "a full disk",
    prepare: (m) => m.availableBytes = 1000,
    message: /has room for 1 MB, accepted are 251 MB or more/,
  },
  {
    what: "a checkout without --from",
    options: { program: CHECKOUT },
    message: /found a checkout/,
    hint: /deno task compile .* --from dist/,
  },
  {
    what: "a --from without executables",
    options: { program: CHECKOUT, from: "/root/dist" },
    message: /found no postern-client, postern-server, postern-commander, postern-setup in \/root\/dist/,
  },
  { what: "a key name that is a path", options: { keyName: "../user" }, message: /--key-name/ },
  { what: "the name of the checking key", options: { keyName: "postern-check" }, message: /--key-name/ },
  { what: "a --root that is not there", options: { root: "/nowhere" }, message: /found no such folder/ },
  {
    what: "--root without --ips",
    prepare: (m) => m.folder("/mnt"),
    options: { root: "/mnt", ips: undefined },
    message: /found no --ips/,
  },
  {
    what: "a configuration that no check key is known to",
    prepare: (m) => {
      m.folder("/etc/postern");
      m.file("/etc/postern/config.toml", FOREIGN_CONFIG);
    },
    message: /not mine to change: missing \[keys\.postern-check\] with allow = \["postern_check"\]/,
    hint: /add it/,
  },
  {
    what: "a check key that may run everything",
    prepare: (m) => {
      m.folder("/etc/postern");
      m.file("/etc/postern/config.toml", `${FOREIGN_CONFIG}[keys.postern-check]\nallow = ["other"]\n`);
    },
    message: /missing \[keys\.postern-check\]/,
  },
  {
    what: "commands without postern_check",
    prepare: (m) => {
      m.folder("/etc/postern");
      m.file(
        "/etc/postern/config.toml",
        `${FOREIGN_CONFIG}[keys.postern-check]\nallow = ["postern_check"]\n`,
      );
      m.file("/etc/postern/commands.toml", 'secret_name = "/secret"\n[commands]\nopen = "secret-token"\n');
    },
    message: /missing postern_check = "true" below \[commands\] in \/etc\/postern\/commands\.toml/,
  },
  {
    what: "a manifest of somebody else",
    prepare: (m) => {
      m.folder("/var/lib/postern-setup");
      m.file("/var/lib/postern-setup/manifest.json", "{}");
    },
    message: /manifest\.json: found another form/,
  },
];

for (const { what, prepare, options, message, hint } of REFUSALS) {
  Deno.test(`runSetup() refuses ${what} before it acts`, async () => {
    const machine = new FakeMachine();
    prepare?.(machine);
    const before = machine.tree();
    const error = await runSetup(machine, { ...OPTIONS, ...options }, []).then(
      () => null,
      (each: unknown) => each,
    );
    assert(error instanceof Failure, String(error));
    assert.match(describeError(error), message);
    assert.doesNotMatch(describeError(error), /secret/);
    assert.match(error.hint ?? "", hint ?? /^/);
    assert.deepEqual(machine.acts, []);
    assert.deepEqual(machine.tree(), before);
  });
}

Deno.test("examine() takes its own server's port for free", async () => {
  const machine = new FakeMachine();
  await runSetup(machine, OPTIONS, []);
  machine.isTaken = true;
  const { active } = await examine(machine, OPTIONS);
  assert.deepEqual(active, ["postern-commander.service", "postern-server.service"]);
});

Deno.test("examine() takes executables from a folder, with or without the target in their names", async () => {
  const machine = new FakeMachine();
  machine.folder("/dist");
  machine.file(`/dist/postern-client-${Deno.build.target}`, "a");
  for (const role of ["server", "commander", "setup"]) machine.file(`/dist/postern-${role}`, role);
  const { executables } = await examine(machine, { ...OPTIONS, from: "/dist" });
  assert.equal(executables.unpack, false);
  assert.equal(executables.from, "/dist");
});

Deno.test("examine() makes all executables out of a folder with a single self-extracting one", async () => {
  const machine = new FakeMachine();
  machine.folder("/dist");
  machine.file(`/dist/postern-server-${Deno.build.target}`, "self-extracting");
  const { executables } = await examine(machine, { ...OPTIONS, from: "/dist" });
  assert.equal(executables.unpack, true);
});

Deno.test("examine() leaves ruroco alone, and says where its files may go", async () => {
  const machine = new FakeMachine();
  machine.folder("/etc/ruroco");
  const { notes } = await examine(machine, OPTIONS);
  assert.match(notes.join("\n"), /found ruroco in \/etc\/ruroco: it is left alone/);
});

Deno.test("examine() says why commands may run for private addresses", async () => {
  const { notes } = await examine(new FakeMachine(), { ...OPTIONS, ips: "10.0.0.5" });
  assert.match(notes.join("\n"), /allow_non_routable_ips = true is set: 10\.0\.0\.5 \(private\)/);
});
