import assert from "node:assert/strict";
import { Placing, type PlacingOptions } from "../../../src/client/transfer/placing.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { TargetFolder, treeOf } from "./file_sink_stage.ts";

/** A target folder, and a data file beside it. */
class Place implements Disposable {
  readonly #folder = new TargetFolder();
  readonly target: string = `${this.#folder.path}/target`;
  readonly outside: string = `${this.#folder.path}/outside`;
  readonly data: string = `${this.#folder.path}/data`;

  constructor() {
    Deno.mkdirSync(this.target);
    Deno.mkdirSync(this.outside);
    this.renew();
  }

  renew(): void {
    Deno.writeTextFileSync(this.data, "data");
  }

  placing(options: Partial<PlacingOptions> = {}): Placing {
    return new Placing(this.target, { overwrite: false, ...options });
  }

  get tree(): Record<string, string> {
    return Object.fromEntries(
      Object.entries(treeOf(this.target)).map(([path, what]) => [
        path,
        typeof what === "string" ? what : new TextDecoder().decode(what),
      ]),
    );
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

function refuses(act: () => unknown, code: string, message: RegExp): void {
  assert.throws(act, (error: unknown) => {
    assert(error instanceof TransferError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

/** As file systems without links answer. */
function noLinks(): never {
  throw Object.assign(new Deno.errors.PermissionDenied("Operation not permitted (os error 1)"), {
    code: "EPERM",
  });
}

Deno.test("Placing puts a file into its place and makes the folders on the way", async () => {
  using place = new Place();
  const placing = place.placing();
  assert(placing.put(place.data, ["a", "b", "c"], false));
  placing.makeFolder(["a", "d"]);
  await placing.sync();
  assert.deepEqual(place.tree, { "a": "folder", "a/b": "folder", "a/b/c": "data", "a/d": "folder" });
  assert.equal(Deno.statSync(place.data).nlink, 2);
});

Deno.test("Placing never takes the place of anything", () => {
  for (const link of [undefined, noLinks]) {
    using place = new Place();
    const placing = place.placing({ link });
    Deno.writeTextFileSync(`${place.target}/file`, "");
    Deno.mkdirSync(`${place.target}/folder`);
    // The first one may be the answer that there are no links.
    placing.put(place.data, ["first"], false);
    place.renew();
    refuses(
      () => placing.put(place.data, ["file"], false),
      "exists",
      /file: something of that name is there/,
    );
    refuses(() => placing.put(place.data, ["folder"], false), "exists", /folder: something of that name/);
    refuses(() => placing.put(place.data, ["file", "x"], false), "exists", /file: a file is there/);
    refuses(() => placing.makeFolder(["file"]), "exists", /file: a file is there/);
    assert.equal(place.tree["file"], "");
    assert.equal(Deno.readTextFileSync(place.data), "data");
  }
});

Deno.test("Placing does not take the place of what came after it looked", () => {
  for (const isLinked of [true, false]) {
    using place = new Place();
    const path = `${place.target}/a`;
    const placing = place.placing({
      link: (from, to) => {
        Deno.writeTextFileSync(path, "mine");
        if (!isLinked) noLinks();
        Deno.linkSync(from, to);
      },
    });
    if (isLinked) refuses(() => placing.put(place.data, ["a"], false), "exists", /something of that name/);
    else assert.equal(placing.put(place.data, ["a"], false), false);
    refuses(() => placing.put(place.data, ["a"], false), "exists", /something of that name/);
    assert.deepEqual(place.tree, { a: "mine" });
  }
});

Deno.test("Placing reserves no place that was taken just when it had looked", () => {
  using place = new Place();
  const path = `${place.target}/a`;
  const placing = place.placing({ link: noLinks });
  assert.equal(placing.put(place.data, ["a"], false), false);
  const lstatSync = Deno.lstatSync;
  Deno.lstatSync = (looked) => {
    try {
      return lstatSync(looked);
    } finally {
      if (looked === path) Deno.writeTextFileSync(path, "mine");
    }
  };
  try {
    refuses(() => placing.put(place.data, ["a"], false), "exists", /something of that name/);
  } finally {
    Deno.lstatSync = lstatSync;
  }
  assert.deepEqual(place.tree, { a: "mine" });
});

Deno.test("Placing reserves the place and renames where there are no links", async () => {
  using place = new Place();
  const placing = place.placing({ link: noLinks });
  assert(!placing.renames);
  assert.equal(placing.put(place.data, ["a"], false), false);
  assert(placing.renames);
  assert.deepEqual(place.tree, {});
  assert(placing.put(place.data, ["a"], false));
  await placing.sync();
  assert.deepEqual(place.tree, { a: "data" });
  assert.throws(() => Deno.statSync(place.data), Deno.errors.NotFound);
  place.renew();
  Deno.writeTextFileSync(`${place.target}/reserved`, "");
  Deno.writeTextFileSync(`${place.target}/taken`, "x");
  assert(placing.put(place.data, ["reserved"], true), "its own place from before a crash");
  place.renew();
  refuses(() => placing.put(place.data, ["taken"], true), "exists", /something of that name/);
});

Deno.test("Placing replaces files, and nothing else, when it may overwrite", () => {
  using place = new Place();
  const placing = place.placing({ overwrite: true });
  Deno.writeTextFileSync(`${place.target}/a`, "old");
  Deno.mkdirSync(`${place.target}/d`);
  Deno.symlinkSync(place.outside, `${place.target}/l`);
  assert(placing.renames);
  assert(placing.put(place.data, ["a"], false));
  place.renew();
  assert(placing.put(place.data, ["new"], false));
  refuses(() => placing.put(place.data, ["d"], false), "exists", /something of that name/);
  refuses(() => placing.put(place.data, ["l"], false), "exists", /a symbolic link is there/);
  assert.deepEqual(place.tree, { a: "data", new: "data", d: "folder", l: `-> ${place.outside}` });
});

Deno.test("Placing follows no symbolic link, on the way or at the place, whole or dangling", () => {
  using place = new Place();
  Deno.writeTextFileSync(`${place.outside}/secret`, "secret");
  Deno.mkdirSync(`${place.target}/real`);
  const links = {
    out: place.outside,
    up: "..",
    self: ".",
    dangling: `${place.outside}/new`,
    file: "../outside/secret",
  };
  for (const [name, to] of Object.entries(links)) {
    Deno.symlinkSync(to, `${place.target}/${name}`);
    Deno.symlinkSync(to, `${place.target}/real/${name}`);
  }
  const before = place.tree;
  for (const overwrite of [false, true]) {
    const placing = place.placing({ overwrite });
    for (const name of Object.keys(links)) {
      for (const names of [[name], [name, "x"], ["real", name], ["real", name, "x", "y"]]) {
        refuses(() => placing.put(place.data, names, false), "exists", /a symbolic link is there/);
        refuses(() => placing.makeFolder(names), "exists", /a symbolic link is there/);
      }
    }
  }
  assert.deepEqual(place.tree, before);
  assert.deepEqual([...Deno.readDirSync(place.outside)].map(({ name }) => name), ["secret"]);
});

Deno.test("Placing looks at the way again for every file", () => {
  using place = new Place();
  const placing = place.placing();
  placing.put(place.data, ["a", "b", "one"], false);
  Deno.renameSync(`${place.target}/a/b`, `${place.target}/a/c`);
  Deno.symlinkSync(place.outside, `${place.target}/a/b`);
  refuses(
    () => placing.put(place.data, ["a", "b", "two"], false),
    "exists",
    /a\/b: a symbolic link is there/,
  );
  assert.deepEqual([...Deno.readDirSync(place.outside)], []);
});

Deno.test("Placing tells what the file system answers, with the path", () => {
  using place = new Place();
  for (
    const [code, kind, message] of [
      ["ENOSPC", "space", /target\/a: no space is left there/],
      ["EDQUOT", "space", /target\/a: the disk quota is used up/],
      ["EROFS", "storage", /target\/a: the file system is read-only/],
      ["EXDEV", "storage", /target\/a: it is on another file system/],
    ] as const
  ) {
    const placing = place.placing({
      link: () => {
        throw Object.assign(new Error("os error"), { code });
      },
    });
    refuses(() => placing.put(place.data, ["a"], false), kind, message);
  }
  const long = Array(40).fill("a".repeat(200));
  refuses(() => place.placing().put(place.data, long, false), "path", /longer than the file system takes/);
});
