/**
 * Two people, a relay and their two command lines: what each of them reads, with the permissions that are shipped.
 * Everything is compared with what stands on a page, so a word that changes shows.
 */
import assert from "node:assert/strict";
import { TransferPlace, writeRandom } from "./transfer_programs.ts";

const TIMEOUT_MS = 60_000;

function session(
  name: string,
  run: (place: TransferPlace) => Promise<void>,
  relayWords: string[] = [],
): void {
  Deno.test({
    name,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      await using place = await TransferPlace.make(relayWords);
      await run(place);
    },
  });
}

/** Lines with what differs from run to run taken out. */
function told(text: string, { relay, folder }: TransferPlace): string[] {
  return text.replaceAll(relay, "RELAY").replaceAll(folder, "FOLDER")
    .replaceAll(/ in [0-9.]+ s(?:, [0-9.]+ [kMG]?B\/s)?$/gm, " in TIME").split("\n").filter((line) =>
      line !== ""
    );
}

/** Folders of shares that could go on. */
function statesIn(home: string): string[] {
  const folder = `${home}/.local/state/postern/transfers`;
  return [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.startsWith("share-"));
}

session("client share and client receive move a file, and tell both sides what happens", async (place) => {
  await Deno.writeTextFile(`${place.out}/report.txt`, "what was found\n");
  await using sender = await place.share(["report.txt"]);
  const code = await sender.code();
  await using receiver = await place.receive([code, "--yes"]);
  await receiver.ends(0);
  await sender.ends(0);

  assert.equal(sender.stdout, `${code}\n`);
  assert.equal(receiver.stdout, "report.txt\n");
  assert.deepEqual(told(sender.stderr, place).filter((line) => !line.startsWith("waiting")), [
    "at the other side run this, and type the code there when it is asked for:",
    "  postern client receive --relay RELAY",
    "the receiver is there, and knows the code",
    "offering 1 file, 15 B",
    "the receiver has received and verified 1 file, 15 B in TIME",
  ]);
  assert.deepEqual(told(receiver.stderr, place).filter((line) => !line.startsWith("waiting")), [
    "the sender is there, and knows the code",
    "offered: 1 file, 15 B",
    "  report.txt  15 B",
    "received and verified 1 file, 15 B in TIME",
  ]);
  assert.equal(await Deno.readTextFile(`${place.in}/report.txt`), "what was found\n");
  assert.deepEqual([...Deno.readDirSync(place.in)].map(({ name }) => name), ["report.txt"]);
  // The code is in what the sender was asked for, and nowhere else.
  assert(!`${sender.stderr}${receiver.stdout}${receiver.stderr}`.includes(code));
});

session("client share of a folder goes where -o says, and hidden names want --hidden", async (place) => {
  await Deno.mkdir(`${place.out}/site/empty`, { recursive: true });
  await Deno.writeTextFile(`${place.out}/site/.htaccess`, "deny\n");
  await Deno.writeTextFile(`${place.out}/site/a, b.html`, "<p>\n");
  await using refusing = await place.share(["site"]);
  await using refused = await place.receive([await refusing.code(), "--yes", "-o", "inbox"]);
  await refused.ends(1);
  await refusing.ends(1);
  assert.match(refused.stderr, /^error: .*\.htaccess.*$/m);
  assert.match(refused.stderr, /^hint: .*--hidden/m);
  assert.match(refusing.stderr, /^error: the other side ended the transfer: /m);
  assert.deepEqual([...Deno.readDirSync(place.in)], []);

  await using sender = await place.share(["site"]);
  await using receiver = await place.receive([await sender.code(), "--yes", "--hidden", "-o", "inbox"]);
  await receiver.ends(0);
  await sender.ends(0);
  assert.equal(receiver.stdout, "inbox/site\n");
  assert.match(receiver.stderr, /^hidden, as their names begin with a dot: 1 path\n {2}site\/\.htaccess$/m);
  assert.equal(await Deno.readTextFile(`${place.in}/inbox/site/a, b.html`), "<p>\n");
  assert((await Deno.stat(`${place.in}/inbox/site/empty`)).isDirectory);
});

session("client share --text is printed exactly where standard output is no terminal", async (place) => {
  const text = "one\ttwo\n\x1b[2J postern client receive";
  await using sender = await place.share(["--text", text]);
  await using receiver = await place.receive(["-", "--yes"], { stdin: `${await sender.code()}\n` });
  await receiver.ends(0);
  await sender.ends(0);
  assert.equal(receiver.stdout, text);
  assert.match(receiver.stderr, /^offered: a text of 35 B$/m);
  assert.deepEqual([...Deno.readDirSync(place.in)], []);
});

session(
  "client receive takes the words of a code as words, and files go to no standard output",
  async (place) => {
    await using sender = await place.share(["--text", "x"]);
    const code = await sender.code();
    await using wrong = await place.receive([code, "--yes", "-o", "-"]);
    await wrong.ends(2);
    assert.match(wrong.stderr, /^error: .*files cannot go to standard output/m);
    assert.match(wrong.stderr, /^hint: leave -o away/m);
    await Deno.writeTextFile(`${place.in}/file`, "");
    await using noFolder = await place.receive([code, "--yes", "-o", "file"]);
    await noFolder.ends(1);
    assert.match(noFolder.stderr, /^error: cannot read .*\/in\/file: it is no folder$/m);
    await using nowhere = await place.receive([code, "--yes", "-o", "file/in"]);
    await nowhere.ends(1);
    await using kept = await place.receive([code, "--yes", "-o", "/proc/x"]);
    await kept.ends(1);
    assert.match(kept.stderr, /^error: cannot read \/proc\/x: it is no folder for files, /m);
    for (const { stderr } of [noFolder, nowhere, kept]) {
      assert.match(stderr, /^hint: name a folder with -o; /m);
    }
    await using receiver = await place.receive([...code.split("-"), "--yes"]);
    await receiver.ends(0);
    await sender.ends(0);
    assert.equal(receiver.stdout, "x");
    assert.match(receiver.stderr, /^received and verified a text of 1 B in [0-9.]+ s$/m);
  },
);

session("client share - is a file of the name that is given", async (place) => {
  await using sender = await place.share(["-", "--name", "list.txt"], { stdin: "a\nb\n" });
  await using receiver = await place.receive([await sender.code(), "--yes"]);
  await receiver.ends(0);
  await sender.ends(0);
  assert.equal(receiver.stdout, "list.txt\n");
  assert.equal(await Deno.readTextFile(`${place.in}/list.txt`), "a\nb\n");
});

session("a wrong code ends both sides, which say so, and is in no message", async (place) => {
  await Deno.writeTextFile(`${place.out}/a`, "a");
  await using sender = await place.share(["a"]);
  const code = await sender.code();
  const [number] = code.split("-");
  const wrong = `${number}-zebra-zero-zone`;
  await using receiver = await place.receive([wrong, "--yes"]);
  await receiver.ends(1);
  await sender.ends(1);
  const mismatch = "error: the code does not match (typing error, or someone tried to guess)";
  assert.deepEqual(told(receiver.stderr, place), [
    mismatch,
    "hint: the code is spent; ask the other side to make a new one by running its command again",
  ]);
  assert.deepEqual(told(sender.stderr, place).slice(-2), [
    mismatch,
    "hint: the code is spent; run the same command again, which makes a new one",
  ]);
  for (const text of [receiver.stderr, receiver.stdout, sender.stderr]) {
    assert(!text.includes("zebra") && !text.includes(code.slice(7)), text);
  }
  // Run again, it makes another one, with which it works.
  await using again = await place.share(["a"]);
  const next = await again.code();
  assert.notEqual(next, code);
  await using second = await place.receive([next, "--yes"]);
  await second.ends(0);
  await again.ends(0);
});

session("without a state folder both work, and the sender says what that means", async (place) => {
  await Deno.writeTextFile(`${place.out}/a`, "a");
  // No variable may be read, so none is known.
  const nothing = { home: undefined };
  await using sender = await place.share(["a"], nothing);
  await using receiver = await place.receive([await sender.code(), "--yes"], nothing);
  await receiver.ends(0);
  await sender.ends(0);
  assert.equal(
    told(sender.stderr, place)[0],
    "no state folder may be used, so this share cannot go on once its program has ended",
  );
  assert.deepEqual([...Deno.readDirSync(place.folder)].map(({ name }) => name).toSorted(), [
    "home-in",
    "home-out",
    "in",
    "out",
  ]);
});

session("where no state folder can be made both work, and say what that means", async (place) => {
  await Deno.writeTextFile(`${place.out}/a`, "a");
  const nowhere = { home: `${place.folder}/home` };
  await Deno.mkdir(nowhere.home);
  await Deno.writeTextFile(`${nowhere.home}/.local`, "no folder");
  await using sender = await place.share(["a"], nowhere);
  await using receiver = await place.receive([await sender.code(), "--yes"], nowhere);
  await receiver.ends(0);
  await sender.ends(0);
  const notice = "could not keep anything in FOLDER/home/.local/state/postern/transfers: ";
  for (const { stderr } of [sender, receiver]) {
    const [first = ""] = told(stderr, place);
    assert(first.startsWith(notice) && /cannot go on after a restart$/.test(first), first);
  }
});

session("a link to what is not permitted is refused before a code is used, with its end", async (place) => {
  await Deno.writeTextFile(`${place.out}/a`, "a");
  await Deno.symlink(place.in, `${place.out}/link`);
  await Deno.symlink(place.out, `${place.in}/link`);
  await using refusing = await place.share(["link"]);
  await refusing.ends(1);
  assert.deepEqual(told(refusing.stderr, place), [
    'error: cannot share "link": it leads to FOLDER/in, which this program may not read; accepted are files and folders',
    "hint: name FOLDER/in instead, or add --allow-read=FOLDER/in to deno run",
  ]);

  await using sender = await place.share(["a"]);
  const code = await sender.code();
  await using refused = await place.receive([code, "--yes", "-o", "link"]);
  await refused.ends(1);
  assert.match(
    told(refused.stderr, place)[0] ?? "",
    /^error: cannot receive into FOLDER\/in\/link: it leads to FOLDER\/out, .* --allow-write=FOLDER\/out$/,
  );
  await using receiver = await place.receive([code, "--yes"]);
  await receiver.ends(0);
  await sender.ends(0);
});

session("a file that is there is kept, unless it may be replaced", async (place) => {
  await Deno.writeTextFile(`${place.out}/a`, "new");
  await Deno.writeTextFile(`${place.in}/a`, "old");
  await using refusing = await place.share(["a"]);
  await using refused = await place.receive([await refusing.code(), "--yes"]);
  await refused.ends(1);
  await refusing.ends(1);
  assert.match(
    refused.stderr,
    /^hint: .*add --overwrite to replace what is there, or name another folder with -o$/m,
  );
  assert.match(
    refusing.stderr,
    /^hint: run the same command again, .* it adds --overwrite, or -o with another folder$/m,
  );
  assert.deepEqual(statesIn(`${place.folder}/home-out`), [], "nobody goes on with what was refused");
  assert.equal(await Deno.readTextFile(`${place.in}/a`), "old");

  await using sender = await place.share(["a"]);
  await using receiver = await place.receive([await sender.code(), "--yes", "--overwrite"]);
  await receiver.ends(0);
  await sender.ends(0);
  assert.equal(await Deno.readTextFile(`${place.in}/a`), "new");
});

session("more than --max-files or --max-bytes is refused, with the option that allows it", async (place) => {
  await Deno.mkdir(`${place.out}/d`);
  for (const name of ["a", "b", "c"]) await Deno.writeTextFile(`${place.out}/d/${name}`, "12345");
  for (const limit of [["--max-files", "3"], ["--max-bytes", "14"]]) {
    await using sender = await place.share(["d"]);
    await using receiver = await place.receive([await sender.code(), "--yes", ...limit]);
    await receiver.ends(1);
    await sender.ends(1);
    assert.match(receiver.stderr, /^error: .*accepted are (?:3|14)$/m);
    assert.match(receiver.stderr, /^hint: .*add --max-files or --max-bytes to take more$/m);
    assert.match(sender.stderr, /^hint: .* it adds --max-files or --max-bytes$/m);
  }
});

session("--receivers N lets N in by one code, at the same time", async (place) => {
  await Deno.writeTextFile(`${place.out}/a`, "for all");
  await using sender = await place.share(["a", "--receivers", "2"]);
  const code = await sender.code();
  await using first = await place.receive([code, "--yes", "-o", "1"]);
  await using second = await place.receive([code, "--yes", "-o", "2"], { home: `${place.folder}/home-2` });
  await first.ends(0);
  await second.ends(0);
  await sender.ends(0);
  for (const name of ["1", "2"]) assert.equal(await Deno.readTextFile(`${place.in}/${name}/a`), "for all");
  assert.match(sender.stderr, /^receiver 1 has received and verified 1 file, 7 B in /m);
  assert.match(sender.stderr, /^receiver 2 has received and verified 1 file, 7 B in /m);
});

session("--receivers N lets one user in twice, into two folders", async (place) => {
  await Deno.writeTextFile(`${place.out}/a`, "for all");
  await using sender = await place.share(["a", "--receivers", "2"]);
  const code = await sender.code();
  await using first = await place.receive([code, "--yes", "-o", "1"]);
  await first.ends(0);
  await using second = await place.receive([code, "--yes", "-o", "2"]);
  await second.ends(0);
  await sender.ends(0);
  for (const name of ["1", "2"]) assert.equal(await Deno.readTextFile(`${place.in}/${name}/a`), "for all");
  assert.equal(
    told(second.stderr, place)[0],
    "this code was used to receive into FOLDER/in/1 before: this is another receiver; to go on there, name that folder",
  );
  await using again = await place.receive([code, "--yes", "-o", "2"]);
  await again.ends(1);
  assert.match(
    again.stderr,
    /^error: cannot use the code again: it was used to receive into .*\/2, and is over$/m,
  );
});

session("Ctrl-C leaves what has come, exit code 1 and the hint; the same commands go on", async (place) => {
  await writeRandom(`${place.out}/big`, 4_000_000);
  await using sender = await place.share(["big"]);
  const code = await sender.code();
  await using receiver = await place.receive([code, "--yes"]);
  await receiver.says("stderr", /^[0-9]+ %: /m);
  receiver.kill("SIGINT");
  await receiver.ends(1);
  assert.deepEqual(told(receiver.stderr, place).slice(-2), [
    "error: the transfer was interrupted by Ctrl-C",
    "hint: run the same command again on both sides: what has arrived is kept, and only the rest is sent",
  ]);
  await sender.says("stderr", /^warning: .*; trying again for up to 2 min$/m);
  await using again = await place.receive([code, "--yes"]);
  await again.ends(0);
  await sender.ends(0);
  assert.match(again.stderr, /^the sender is there again$/m);
  assert.match(again.stderr, /^[0-9.]+ [kM]B to go, the other [0-9.]+ MB came before$/m);
  assert.deepEqual(await Deno.readFile(`${place.in}/big`), await Deno.readFile(`${place.out}/big`));
}, ["--rate", "2000000"]);

session(
  "a relay that goes away is told at once, with how long it is tried again, and is an error in the end",
  async (place) => {
    await Deno.writeTextFile(`${place.out}/a`, "a");
    // So long that one dial at least finds nobody: the relay's last word alone looks like that of one that is full.
    await using sender = await place.share(["a", "--grace", "3s"]);
    await sender.code();
    await sender.says("stderr", /^waiting for the other side at /m);
    await place.endRelay();
    await sender.ends(1);
    assert.deepEqual(
      told(sender.stderr, place).slice(-3).map((line) => line.replace(/relay: .*?(;|$)/, "relay: WHY$1")),
      [
        "warning: cannot use the relay: WHY; trying again for up to 3 s",
        "error: cannot use the relay: WHY",
        "hint: look whether a relay runs at RELAY (postern server relay starts one), then run the same command again",
      ],
    );
  },
);

session("nobody who comes is an error of its own", async (place) => {
  await using sender = await place.share(["--text", "x", "--wait", "500ms"]);
  await sender.ends(1);
  assert.deepEqual(told(sender.stderr, place).slice(-2), [
    "error: the other side did not come in time",
    "hint: run the same command again, and tell the other side the code",
  ]);
  await using receiver = await place.receive(["4815-ocean-rabbit-velvet", "--yes", "--wait", "500ms"]);
  await receiver.ends(1);
  assert.deepEqual(told(receiver.stderr, place).slice(-2), [
    "error: the other side did not come in time",
    "hint: is the number of the code right? If it is, look whether the other side still waits, at the same relay; " +
    "a code is good for one receiver",
  ]);
});
