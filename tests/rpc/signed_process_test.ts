import assert from "node:assert/strict";
import { asSignedProcess, type HandshakePolicy } from "../../src/protocol/rpc/handshake_policy.ts";
import { memoryPair } from "../../src/protocol/transport/memory.ts";
import { tcp } from "../../src/protocol/transport/tcp.ts";
import { TransportError } from "../../src/protocol/transport/transport.ts";
import { systemTimers } from "../../src/protocol/rpc/timers.ts";
import type { ProcessView } from "../../src/rpc/peer_process.ts";
import { ProcView } from "../../src/rpc/proc_view.ts";
import { ProgramView } from "../../src/rpc/program_view.ts";
import {
  requireLinux,
  signedProcess,
  type SignedProcessOptions,
  signedProcessSeenBy,
} from "../../src/rpc/signed_process.ts";
import { bothOf, outcomeOf, sideOf } from "../protocol/rpc/handshake_sides.ts";
import { dialling, MISCHIEF } from "./dialling_program.ts";

const PYTHON = await Deno.realPath("/usr/bin/python3");

/** A folder with executables in it, and the key that some of them are signed for. */
class Workshop implements AsyncDisposable {
  readonly folder: string;
  readonly #keys: CryptoKeyPair;
  readonly publicKey: Uint8Array<ArrayBuffer>;

  private constructor(folder: string, keys: CryptoKeyPair, publicKey: Uint8Array<ArrayBuffer>) {
    this.folder = folder;
    this.#keys = keys;
    this.publicKey = publicKey;
  }

  static async open(): Promise<Workshop> {
    const keys = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    if (!("privateKey" in keys)) throw new TypeError("Ed25519 has pairs of keys");
    const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", keys.publicKey));
    return new Workshop(await Deno.makeTempDir(), keys, publicKey);
  }

  /** An executable that nobody has signed. */
  async program(name = "dialler"): Promise<string> {
    const path = `${this.folder}/${name}`;
    await Deno.copyFile(PYTHON, path);
    await Deno.chmod(path, 0o755);
    return path;
  }

  async sign(path: string, form: "raw" | "base64" = "raw"): Promise<string> {
    const image = await Deno.readFile(path);
    const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", this.#keys.privateKey, image));
    if (form === "raw") await Deno.writeFile(`${path}.sig`, signature);
    else await Deno.writeTextFile(`${path}.sig`, `${signature.toBase64()}\n`);
    return path;
  }

  async signedProgram(name?: string): Promise<string> {
    return await this.sign(await this.program(name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** What is demanded, and by which way it is looked at; without one, by the one that is allowed. */
interface Seen extends SignedProcessOptions {
  readonly view?: ProcessView;
}

function policyOf({ view, ...options }: Seen): HandshakePolicy {
  return view === undefined ? signedProcess(options) : signedProcessSeenBy(view, options);
}

interface Attempt {
  readonly executable: string;
  readonly mischief?: string;
  readonly args?: readonly string[];
  readonly options: Seen;
  readonly address?: string;
  /** After the program has connected and before hands are shaken. */
  readonly meanwhile?: () => Promise<void>;
}

interface Result {
  readonly words: { readonly dialler: string; readonly listener: string };
  readonly message: string;
  readonly executablePath: string | null | undefined;
}

/** Lets a program connect to a listener that wants a signed one. */
async function attempt(
  { executable, mischief = "", args = [], options, address, meanwhile }: Attempt,
): Promise<Result> {
  const listener = await tcp(address ?? "127.0.0.1:0").listen();
  await using program = dialling(executable, listener.address, mischief, ...args);
  const accepted = await listener.accept();
  listener.close();
  assert.ok(accepted);
  await meanwhile?.();
  const [d, l] = await Promise.all([
    outcomeOf(sideOf("dialler", program, { policy: asSignedProcess(), timers: systemTimers })),
    outcomeOf(sideOf("listener", accepted, { policy: policyOf(options), timers: systemTimers })),
  ]);
  accepted.close();
  return {
    words: { dialler: d.words, listener: l.words },
    message: l.error instanceof Error ? l.error.message : "",
    executablePath: l.result?.peer.executablePath,
  };
}

const ACCEPTED = { dialler: "accepted", listener: "accepted" };
const NOT_SIGNED = { dialler: "process_not_signed there", listener: "process_not_signed here" };

const views: readonly (readonly [string, () => ProcessView])[] = [
  ["/proc", () => new ProcView()],
  ["ss, readlink and cat", () => new ProgramView()],
];
for (const [name, view] of views) {
  const test = (
    what: string,
    body: (workshop: Workshop, options: Seen) => Promise<void>,
  ): void =>
    Deno.test({
      name: `signedProcess(), looking with ${name}, ${what}`,
      ignore: Deno.build.os !== "linux",
      async fn(): Promise<void> {
        await using workshop = await Workshop.open();
        await body(workshop, { publicKey: workshop.publicKey, view: view() });
      },
    });

  test("accepts a signed copy of a binary and says where it lies", async (workshop, options) => {
    const executable = await workshop.signedProgram();
    const { words, executablePath } = await attempt({ executable, options });
    assert.deepEqual(words, ACCEPTED);
    assert.equal(executablePath, executable);
  });

  test("accepts a signature and a key in base64", async (workshop, options) => {
    const executable = await workshop.sign(await workshop.program(), "base64");
    const publicKey = `${workshop.publicKey.toBase64()}\n`;
    assert.deepEqual((await attempt({ executable, options: { ...options, publicKey } })).words, ACCEPTED);
  });

  test("finds the process behind IPv6 and behind IPv4 on a socket of IPv6", async (workshop, options) => {
    const executable = await workshop.signedProgram();
    assert.deepEqual((await attempt({ executable, options, address: "[::1]:0" })).words, ACCEPTED);
    const listener = await tcp("[::]:0").listen();
    await using program = dialling(executable, listener.address.replace("[::]", "127.0.0.1"), MISCHIEF.none);
    const accepted = await listener.accept();
    listener.close();
    assert.ok(accepted);
    const outcomes = await Promise.all([
      outcomeOf(sideOf("dialler", program, { policy: asSignedProcess(), timers: systemTimers })),
      outcomeOf(sideOf("listener", accepted, { policy: policyOf(options), timers: systemTimers })),
    ]);
    accepted.close();
    assert.deepEqual(outcomes.map(({ words }) => words), ["accepted", "accepted"]);
  });

  test("refuses an unsigned binary", async (workshop, options) => {
    const { words } = await attempt({ executable: await workshop.program(), options });
    assert.deepEqual(words, NOT_SIGNED);
  });

  test("refuses a signed binary that was modified", async (workshop, options) => {
    const executable = await workshop.signedProgram();
    await Deno.writeFile(executable, new Uint8Array(1), { append: true });
    const { words, message } = await attempt({ executable, options });
    assert.deepEqual(words, NOT_SIGNED);
    assert.match(message, /is not what was signed/);
  });

  test("refuses a binary signed for another key", async (_workshop, options) => {
    await using other = await Workshop.open();
    const executable = await other.signedProgram();
    const { words, message } = await attempt({ executable, options });
    assert.deepEqual(words, NOT_SIGNED);
    assert.match(message, /is not what was signed/);
  });

  test("refuses a signature file that holds none", async (workshop, options) => {
    const executable = await workshop.program();
    for (const content of ["", "no signature", "A".repeat(88), "A".repeat(100_000)]) {
      await Deno.writeTextFile(`${executable}.sig`, content);
      assert.deepEqual((await attempt({ executable, options })).words, NOT_SIGNED);
    }
  });

  test(
    "refuses an unsigned process that claims a signed one's pid in its name",
    async (workshop, options) => {
      const executable = await workshop.program("unsigned");
      const listener = await tcp("127.0.0.1:0").listen();
      await using signed = dialling(await workshop.signedProgram(), listener.address, MISCHIEF.none);
      const { words, message } = await attempt({
        executable,
        options,
        mischief: MISCHIEF.claimsPid,
        args: [String(signed.pid)],
      });
      assert.deepEqual(words, NOT_SIGNED);
      assert.match(message, /usual form|missing/);
      (await listener.accept())?.close();
      listener.close();
    },
  );

  test("refuses an unsigned process whose command line is a signed one's", async (workshop, options) => {
    const signed = await workshop.signedProgram();
    const { words } = await attempt({
      executable: await workshop.program("unsigned"),
      options,
      mischief: MISCHIEF.isNamedOtherwise,
      args: [await workshop.program("also_unsigned"), signed],
    });
    assert.deepEqual(words, NOT_SIGNED);
  });

  test(
    "refuses an unsigned binary that was started by the name of a signed one",
    async (workshop, options) => {
      const unsigned = await workshop.program("unsigned");
      await workshop.signedProgram("tool");
      await Deno.mkdir(`${workshop.folder}/bin`);
      await Deno.symlink(unsigned, `${workshop.folder}/bin/tool`);
      await Deno.copyFile(`${workshop.folder}/tool.sig`, `${workshop.folder}/bin/tool.sig`);
      const { words } = await attempt({ executable: `${workshop.folder}/bin/tool`, options });
      assert.deepEqual(words, NOT_SIGNED);
    },
  );

  test("refuses a connection that two processes hold", async (workshop, options) => {
    const executable = await workshop.signedProgram();
    const { words, message } = await attempt({ executable, options, mischief: MISCHIEF.shares });
    assert.deepEqual(words, NOT_SIGNED);
    assert.match(message, /found 2 processes/);
  });

  test("refuses a signed process that becomes another before it answers", async (workshop, options) => {
    const { words, message } = await attempt({
      executable: await workshop.signedProgram(),
      options,
      mischief: MISCHIEF.becomes,
      args: [await workshop.program("unsigned")],
    });
    assert.deepEqual(words, NOT_SIGNED);
    assert.match(message, /another process or executable than before/);
  });

  test(
    "refuses a process whose binary was replaced by a signed one after it was started",
    async (workshop, options) => {
      const executable = await workshop.program();
      const { words } = await attempt({
        executable,
        options,
        async meanwhile(): Promise<void> {
          await Deno.rename(await workshop.program("new"), executable);
          await workshop.sign(executable);
        },
      });
      assert.deepEqual(words, NOT_SIGNED);
    },
  );

  test("refuses a signed interpreter", async (workshop, options) => {
    const { words, message } = await attempt({
      executable: await workshop.signedProgram("python3.11"),
      options,
    });
    assert.deepEqual(words, NOT_SIGNED);
    assert.match(message, /interpreter/);
  });

  test("refuses a binary that is longer than it reads", async (workshop, options) => {
    const executable = await workshop.signedProgram();
    const { words } = await attempt({ executable, options: { ...options, maxImageBytes: 1_000_000 } });
    assert.deepEqual(words, NOT_SIGNED);
  });

  test("refuses a process that has gone", async (workshop, options) => {
    const listener = await tcp("127.0.0.1:0").listen();
    const accepted = await (async () => {
      await using _program = dialling(await workshop.signedProgram(), listener.address, MISCHIEF.none);
      return await listener.accept();
    })();
    listener.close();
    assert.ok(accepted);
    const verifier = policyOf(options).verifier;
    await assert.rejects(
      async () => await verifier?.verify(accepted, new AbortController().signal),
      { name: "PeerRefusal" },
    );
    accepted.close();
  });

  test("says unsupported over anything but TCP on loopback", async (_workshop, options) => {
    const [dialler, listener] = memoryPair();
    const outcomes = await bothOf(
      { dialler, listener, written: { dialler: [], listener: [] }, arrived: { dialler: [], listener: [] } },
      { policy: asSignedProcess() },
      { policy: policyOf(options) },
    );
    assert.deepEqual(outcomes.words, { dialler: "internal there", listener: "internal here" });
    const cause = (outcomes.listener.error as Error).cause;
    assert.ok(cause instanceof TransportError && cause.code === "unsupported");
  });
}

Deno.test("signedProcess() accepts what the openssl command of its documentation signs", async () => {
  await using workshop = await Workshop.open();
  const executable = await workshop.program();
  const key = `${workshop.folder}/key.pem`;
  await openssl("genpkey", "-algorithm", "ed25519", "-out", key);
  await openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", executable, "-out", `${executable}.sig`);
  const der = await openssl("pkey", "-in", key, "-pubout", "-outform", "DER");
  const { words } = await attempt({ executable, options: { publicKey: der.slice(-32) } });
  assert.deepEqual(words, ACCEPTED);
});

Deno.test("signedProcess() reads one executable at a time, and waits for none that is called off", async () => {
  const pending: PromiseWithResolvers<Uint8Array<ArrayBuffer>>[] = [];
  const view: ProcessView = {
    holders: () => Promise.resolve([1]),
    image: () => Promise.resolve({ path: "/usr/bin/tool", identity: "1 100 fe:00 5 /usr/bin/tool" }),
    readFile: () => Promise.resolve(new Uint8Array(64)),
    readImage(): Promise<Uint8Array<ArrayBuffer>> {
      const reading = Promise.withResolvers<Uint8Array<ArrayBuffer>>();
      pending.push(reading);
      return reading.promise;
    },
  };
  const { verifier } = signedProcessSeenBy(view, { publicKey: new Uint8Array(32).fill(9) });
  const [connection] = memoryPair();
  const loopback = {
    ...connection,
    transport: "tcp",
    remoteAddress: "127.0.0.1:5",
    localAddress: "127.0.0.1:6",
  };
  const controllers = [0, 1, 2].map(() => new AbortController());
  const looks = controllers.map(async ({ signal }) => {
    await assert.rejects(async () => await verifier?.verify(loopback, signal), /enough|not what was signed/);
  });
  const settled = async (): Promise<void> => await new Promise((resolve) => setTimeout(resolve));
  await settled();
  assert.equal(pending.length, 1);
  controllers[1]?.abort(new Error("enough"));
  await looks[1];
  assert.equal(pending.length, 1);
  controllers[0]?.abort(new Error("enough"));
  await looks[0];
  await settled();
  assert.equal(pending.length, 2, "the third, not the second");
  pending[1]?.resolve(new Uint8Array(1));
  await looks[2];
});

// What changes while the executable is being read.
const changes: readonly (readonly [string, Partial<Record<"pids" | "identity", unknown>>, RegExp])[] = [
  ["the file", { identity: "1 100 fe:00 6 /usr/bin/tool" }, /another process or executable/],
  ["the process", { pids: [2] }, /another process or executable/],
  ["the number of processes", { pids: [1, 2] }, /found 2 processes/],
];
for (const [name, change, message] of changes) {
  Deno.test(`signedProcess() refuses when ${name} changes while the executable is being read`, async () => {
    const keys = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    assert.ok("privateKey" in keys);
    const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", keys.publicKey));
    const image = new Uint8Array([1, 2, 3]);
    const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", keys.privateKey, image));
    const seen = { pids: [1], identity: "1 100 fe:00 5 /usr/bin/tool" };
    const before = { ...seen };
    const view: ProcessView = {
      holders: () => Promise.resolve(seen.pids),
      image: () => Promise.resolve({ path: "/usr/bin/tool", identity: seen.identity }),
      readFile: () => Promise.resolve(signature),
      readImage(): Promise<Uint8Array<ArrayBuffer>> {
        Object.assign(seen, change);
        return Promise.resolve(image);
      },
    };
    const { verifier } = signedProcessSeenBy(view, { publicKey });
    const [connection] = memoryPair();
    const loopback = {
      ...connection,
      transport: "tcp",
      remoteAddress: "127.0.0.1:5",
      localAddress: "127.0.0.1:6",
    };
    const look = async (): Promise<void> => {
      await verifier?.verify(loopback, new AbortController().signal);
    };
    await assert.rejects(look, { name: "PeerRefusal", message });
    Object.assign(seen, before);
    Object.assign(view, { readImage: () => Promise.resolve(image) });
    await look();
  });
}

Deno.test("signedProcess() refuses a key that is none, and does not repeat it", () => {
  for (const publicKey of ["", "AAAA", "not a key at all", new Uint8Array(31), new Uint8Array(33)]) {
    assert.throws(() => signedProcess({ publicKey }), (error: Error) => {
      assert.ok(error instanceof TypeError && !error.message.includes("not a key"));
      return true;
    });
  }
});

Deno.test("signedProcess() is unsupported elsewhere than on Linux", () => {
  assert.doesNotThrow(() => requireLinux("linux"));
  for (const os of ["windows", "darwin"]) {
    assert.throws(() => requireLinux(os), { name: "TransportError", code: "unsupported" });
  }
});

// Each in a process of its own with just these permissions.
const permissions: readonly (readonly [string, readonly string[], string, RegExp])[] = [
  ["--allow-all", ["-A"], "accepted", /^accepted $/],
  [
    "run of ss, readlink and cat",
    ["--allow-net=127.0.0.1:0", "--allow-run=ss,readlink,cat"],
    "accepted",
    /^accepted $/,
  ],
  [
    "all permissions but one",
    [
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-env",
      "--allow-sys",
      "--allow-ffi",
      "--allow-run=cat",
    ],
    "internal there",
    /^internal here .*needs --allow-all or --allow-run=ss,readlink,cat$/,
  ],
  [
    "no permission to look",
    ["--allow-net=127.0.0.1:0"],
    "internal there",
    /^internal here .*needs --allow-all/,
  ],
];
for (const [name, flags, dialler, listener] of permissions) {
  Deno.test(`signedProcess() with ${name}: ${dialler}`, async () => {
    await using workshop = await Workshop.open();
    const script = new URL("./signed_listener.ts", import.meta.url).href;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", ...flags, script, workshop.publicKey.toBase64()],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const lines = linesOf(child.stdout);
    const address = (await lines.next()).value;
    assert.ok(address);
    await using program = dialling(await workshop.signedProgram(), address, MISCHIEF.none);
    const { words } = await outcomeOf(
      sideOf("dialler", program, { policy: asSignedProcess(), timers: systemTimers }),
    );
    assert.match((await lines.next()).value ?? "", listener);
    assert.equal(words, dialler);
    assert.ok((await lines.next()).done);
    assert.ok((await child.status).success);
  });
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string, undefined> {
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (text + part).split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
  return undefined;
}

async function openssl(...args: readonly string[]): Promise<Uint8Array<ArrayBuffer>> {
  const { success, stdout } = await new Deno.Command("openssl", { args: [...args], stderr: "inherit" })
    .output();
  assert.ok(success);
  return stdout;
}
