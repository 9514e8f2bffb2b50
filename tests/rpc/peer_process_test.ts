import assert from "node:assert/strict";
import { isSigned, parseSignatureFile, parseSigningKey } from "../../src/rpc/executable_signature.ts";
import { checkedImagePath, socketEndsOf, startTimeOf } from "../../src/rpc/peer_process.ts";
import { procAddresses, ProcView } from "../../src/rpc/proc_view.ts";
import { holdersOf, mappedFileOf, ProgramView, type ViewProgram } from "../../src/rpc/program_view.ts";
import { isInterpreter } from "../../src/rpc/signed_process.ts";
import { memoryPair } from "../../src/protocol/transport/memory.ts";
import type { Connection } from "../../src/protocol/transport/transport.ts";

const ends = { local: "127.0.0.1:40000", remote: "127.0.0.1:1337" };
const SOCKET = "0      0      127.0.0.1:40000 127.0.0.1:1337 ";
const refused = { name: "PeerRefusal" };

Deno.test("holdersOf() names every process once", () => {
  assert.deepEqual(holdersOf(`${SOCKET}users:(("tool",pid=12,fd=3))\n`, ends), [12]);
  assert.deepEqual(
    holdersOf(`${SOCKET}users:(("tool",pid=12,fd=3),("tool",pid=12,fd=4)) \n`, ends),
    [12],
  );
  assert.deepEqual(holdersOf(`${SOCKET}users:(("a b",pid=12,fd=3),("",pid=13,fd=4))\n`, ends), [
    12,
    13,
  ]);
});

Deno.test("holdersOf() takes the socket of these two addresses only", () => {
  const other = SOCKET.replace("127.0.0.1:40000", "127.0.0.2:40000");
  const mapped = "0 0 [::ffff:127.0.0.1]:40000 [::ffff:127.0.0.1]:1337 ";
  assert.deepEqual(
    holdersOf(`${other}users:(("x",pid=1,fd=3))\n${SOCKET}users:(("y",pid=2,fd=3))\n`, ends),
    [2],
  );
  assert.deepEqual(holdersOf(`${mapped}users:(("y",pid=2,fd=3))\n`, ends), [2]);
  assert.throws(() => holdersOf(`${other}users:(("x",pid=1,fd=3))\n`, ends), refused);
  assert.throws(() => holdersOf("", ends), refused);
  const line = `${SOCKET}users:(("y",pid=2,fd=3))\n`;
  assert.throws(() => holdersOf(line + line, ends), refused);
});

// What a process may call itself, as ss 6.1 prints it: as it is.
const names = [
  '",pid=1',
  '",pid=1,fd=3)',
  '",pid=1,fd=3),(',
  'a",pid=1,fd=3),',
  '"',
  '",(("a',
  "\n",
  "\n0 0 a b users:",
];
for (const name of names) {
  Deno.test(`holdersOf() refuses a process that calls itself ${JSON.stringify(name)}`, () => {
    assert.throws(() => holdersOf(`${SOCKET}users:(("${name}",pid=99,fd=3))\n`, ends), refused);
  });
}

Deno.test("holdersOf() refuses a socket that ss names no process for", () => {
  assert.throws(() => holdersOf(`${SOCKET}\n`, ends), refused);
});

Deno.test("mappedFileOf() gives device and inode of the executable", () => {
  const maps = [
    "5648bc084000-5648bc089000 r--p 00000000 fe:00 10166282                   /usr/bin/tool",
    "5648bc089000-5648bc0aa000 r-xp 00005000 fe:00 10166282                   /usr/bin/tool",
    "7f0000000000-7f0000001000 r-xp 00000000 fe:00 77                         /usr/lib/libc.so.6",
    "7ffd00000000-7ffd00001000 rw-p 00000000 00:00 0                          [stack]",
    "7ffd00000000-7ffd00001000 rw-p 00000000 00:00 0 ",
  ].join("\n");
  assert.equal(mappedFileOf(maps, "/usr/bin/tool"), "fe:00 10166282");
  assert.throws(() => mappedFileOf(maps, "/usr/bin/other"), refused);
  assert.throws(() => mappedFileOf(`${maps}\n${maps.replaceAll("10166282", "5")}`, "/usr/bin/tool"), refused);
  assert.throws(() => mappedFileOf("", "/usr/bin/tool"), refused);
});

Deno.test("startTimeOf() finds the 22nd field behind any name", () => {
  const stat = (name: string): string =>
    `2239 (${name}) S 2198 2140 26218 0 -1 4194304 889 0 12 0 5 1 0 0 20 0 1 0 2300868 15826944 2513`;
  for (const name of ["tool", "a b", "x) R 1 1 1 1", ")))", "("]) {
    assert.equal(startTimeOf(stat(name)), "2300868");
  }
  assert.throws(() => startTimeOf(""), refused);
  assert.throws(() => startTimeOf("2239 (tool) S 1 2 3"), refused);
});

Deno.test("procAddresses() writes addresses as /proc/net/tcp does", () => {
  assert.deepEqual(procAddresses("127.0.0.1:40000"), [
    "0100007F:9C40",
    "0000000000000000FFFF00000100007F:9C40",
  ]);
  assert.deepEqual(procAddresses("[::1]:80"), ["00000000000000000000000001000000:0050"]);
});

Deno.test("socketEndsOf() takes TCP on loopback, from the other side's view, and nothing else", () => {
  const [connection] = memoryPair();
  const over = (
    transport: string,
    remoteAddress: string | null,
    localAddress: string | null,
  ): Connection => ({
    ...connection,
    transport,
    remoteAddress,
    localAddress,
  });
  assert.deepEqual(socketEndsOf(over("tcp", "127.0.0.1:5", "127.0.0.1:6")), {
    local: "127.0.0.1:5",
    remote: "127.0.0.1:6",
  });
  assert.deepEqual(
    socketEndsOf(over("tcp", "[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:6")).local,
    "127.0.0.1:5",
  );
  for (
    const each of [
      over("tcp", "192.0.2.1:5", "192.0.2.2:6"),
      over("tcp", "192.0.2.1:5", "127.0.0.1:6"),
      over("tcp", "127.0.0.1.example:5", "127.0.0.1:6"),
      over("tcp", "[2001:db8::1]:5", "[::1]:6"),
      over("tcp", null, null),
      over("tls", "127.0.0.1:5", "127.0.0.1:6"),
      over("unix", null, "/run/x"),
    ]
  ) {
    assert.throws(() => socketEndsOf(each), { name: "TransportError", code: "unsupported" });
  }
});

Deno.test("checkedImagePath() refuses an executable that is not where it was", () => {
  assert.equal(checkedImagePath("/usr/bin/tool"), "/usr/bin/tool");
  for (
    const target of ["", "tool", "/usr/bin/tool (deleted)", "(unreachable)/tool", "/memfd:tool (deleted)"]
  ) {
    assert.throws(() => checkedImagePath(target), refused);
  }
});

Deno.test("checkedImagePath() refuses a path that would write into a log what it likes", () => {
  for (
    const target of [
      "/tmp/a\nroot accepted",
      "/tmp/\u001b[2J",
      "/tmp/\u202eloot",
      "/tmp/\u2028x",
      "/tmp/\ufffd",
    ]
  ) {
    assert.throws(() => checkedImagePath(target), refused);
  }
  assert.equal(checkedImagePath("/opt/Grüße 5/tool"), "/opt/Grüße 5/tool");
});

Deno.test("isInterpreter() knows programs that run what they are given", () => {
  const interpreters =
    "sh bash dash zsh busybox python python3 python3.11 perl perl5.36.0 ruby node nodejs deno bun java " +
    "php8.2 lua5.4 ld.so ld-linux-x86-64.so.2 ld-2.31.so gdb env awk mawk nc.openbsd socat";
  for (const name of interpreters.split(" ")) assert.ok(isInterpreter(`/usr/bin/${name}`), name);
  for (
    const name of ["tool", "bashful", "my-node", "nodes", "pythonic", "postern", "denomination", "shell"]
  ) {
    assert.ok(!isInterpreter(`/usr/bin/${name}`), name);
  }
  assert.ok(!isInterpreter("/opt/bash/tool"));
});

Deno.test("parseSignatureFile() reads 64 bytes or their base64, in one spelling", () => {
  const signature = crypto.getRandomValues(new Uint8Array(64));
  const text = new TextEncoder().encode(` ${signature.toBase64()}\n`);
  assert.deepEqual(parseSignatureFile(signature), signature);
  assert.deepEqual(parseSignatureFile(text), signature);
  for (const wrong of ["", "AAAA", "A".repeat(88), `${"A".repeat(85)}B==`, signature.toHex()]) {
    assert.equal(parseSignatureFile(new TextEncoder().encode(wrong)), null);
  }
});

Deno.test("parseSigningKey() reads 32 bytes or their base64, and keeps its own copy", () => {
  const key = crypto.getRandomValues(new Uint8Array(32));
  const before = key.slice();
  const parsed = parseSigningKey(key);
  assert.deepEqual(parseSigningKey(key.toBase64()), before);
  key.fill(0);
  assert.deepEqual(parsed, before);
});

// y of the points of small order, in every spelling (https://eprint.iacr.org/2020/1244, table 1); the first is what a
// key is that nobody has filled in.
const weak = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
Deno.test("parseSigningKey() refuses keys that signatures of nobody pass for", async () => {
  let forged = 0;
  for (const hex of weak) {
    for (const sign of [0, 0x80]) {
      const key = Uint8Array.fromHex(hex);
      key[31] = (key[31] ?? 0) | sign;
      assert.throws(() => parseSigningKey(key), /for which anybody can sign/);
      assert.throws(() => parseSigningKey(key.toBase64()), TypeError);
      // R is the neutral point and S is 0: nothing that anybody had to know.
      const signature = new Uint8Array(64).with(0, 1);
      for (let image = 0; image < 64; image++) {
        if (await isSigned(new Uint8Array([image]), signature, key).catch(() => false)) forged++;
      }
    }
  }
  assert.ok(forged > 0, "the runtime refuses such keys by itself: this list is not needed any more");
});

Deno.test("ProgramView asks for the two ports, the process and the file, and for nothing else", async () => {
  const asked: string[] = [];
  const answers: Readonly<Record<string, string>> = {
    ss: `${SOCKET}users:(("tool",pid=12,fd=3))\n`,
    readlink: "/usr/bin/tool",
    "cat /proc/12/maps": "0-1 r-xp 00000000 fe:00 5 /usr/bin/tool\n",
    "cat /proc/12/stat": "12 (tool) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0",
  };
  const view = new ProgramView((program: ViewProgram, args) => {
    const line = [program, ...args].join(" ");
    asked.push(line);
    return Promise.resolve(new TextEncoder().encode(answers[line] ?? answers[program] ?? ""));
  });
  const { signal } = new AbortController();
  assert.deepEqual(await view.holders(ends, signal), [12]);
  assert.deepEqual(await view.image(12, signal), {
    path: "/usr/bin/tool",
    identity: "12 77 fe:00 5 /usr/bin/tool",
  });
  await view.readImage(12, 10, signal);
  await view.readFile("/usr/bin/tool.sig", 10, signal);
  assert.deepEqual(asked, [
    "ss -H -t -n -p state established ( sport = :40000 and dport = :1337 )",
    "readlink -n /proc/12/exe",
    "cat /proc/12/maps",
    "cat /proc/12/stat",
    "cat /proc/12/exe",
    "cat -- /usr/bin/tool.sig",
  ]);
});

Deno.test("ProcView reads no more of a file than it says to be long, whatever it gives", async () => {
  const view = new ProcView();
  const { signal } = new AbortController();
  // As long as somebody likes who makes file systems: this one says 0 bytes.
  await assert.rejects(view.readFile("/proc/self/status", 10, signal), { ...refused, message: /grow/ });
  for (const path of ["/dev/zero", "/no/such/file", "/proc/self"]) {
    await assert.rejects(view.readFile(path, 10, signal), refused);
  }
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, "0123456789");
  assert.equal(new TextDecoder().decode(await view.readFile(path, 10, signal)), "0123456789");
  await assert.rejects(view.readFile(path, 9, signal), refused);
  await Deno.remove(path);
});

Deno.test("ProgramView stops reading a program's output that is too long, and ends the program", async () => {
  const view = new ProgramView();
  const { signal } = new AbortController();
  await assert.rejects(view.readFile("/dev/zero", 1_000_000, signal), {
    ...refused,
    message: /more than 1000000/,
  });
  await assert.rejects(view.readFile("/no/such/file", 10, signal), refused);
});

Deno.test("ProgramView ends a program that hangs when it is called off", async () => {
  const view = new ProgramView();
  const folder = await Deno.makeTempDir();
  const fifo = `${folder}/fifo`;
  assert.ok((await new Deno.Command("mkfifo", { args: [fifo] }).output()).success);
  const controller = new AbortController();
  const hanging = view.readFile(fifo, 10, controller.signal);
  controller.abort(new Error("enough"));
  await assert.rejects(hanging, /enough/);
  await assert.rejects(view.readFile(fifo, 10, controller.signal), /enough/);
  await Deno.remove(folder, { recursive: true });
});
