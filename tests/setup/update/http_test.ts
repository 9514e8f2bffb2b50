/** Updates from a server that is good, broken, slow or hostile. */
import assert from "node:assert/strict";
import { Failure } from "../../../src/system/failure.ts";
import { allAt, NEW_VERSION, OLD_VERSION, TARGET, UpdateLab } from "./update_lab.ts";

type Answer = (request: Request, url: URL) => Response | null | Promise<Response | null>;

/** Serves a folder of releases; `answer` may take a request over. */
class ReleaseServer implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly paths: string[] = [];

  constructor(dir: string, answer: Answer = () => null) {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      const url = new URL(request.url);
      this.paths.push(url.pathname);
      const own = await answer(request, url);
      if (own !== null) return own;
      try {
        return new Response(await Deno.readFile(`${dir}${url.pathname}`));
      } catch {
        return new Response("no such file", { status: 404 });
      }
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

async function refuses(lab: UpdateLab, answer: Answer, pattern: RegExp): Promise<void> {
  await using server = new ReleaseServer(lab.releasesDir, answer);
  await assert.rejects(lab.update({ url: server.url }), (error) => {
    assert.ok(error instanceof Failure, String(error));
    assert.match(error.message, pattern);
    assert.match(error.message, /nothing was changed$/);
    return true;
  });
  assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
}

const isExecutable = (url: URL): boolean => url.pathname.endsWith(`postern-server-${TARGET}`);

/** A body that never ends: a piece at each turn, as fast as it is read or with a pause. */
function endless(pieceBytes: number, pauseMs: number | null): Response {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return new Response(
    new ReadableStream({
      async pull(controller): Promise<void> {
        if (pauseMs !== null) {
          await new Promise((resolve) => timer = setTimeout(() => resolve(undefined), pauseMs));
        }
        controller.enqueue(new Uint8Array(pieceBytes));
      },
      cancel: () => clearTimeout(timer),
    }),
  );
}

Deno.test("update() from a server installs what file:// installs", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await using server = new ReleaseServer(lab.releasesDir);
  const report = await lab.update({ url: `${server.url}/` });
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
  assert.equal(report.from, `${server.url}/`);
  assert.deepEqual(server.paths.slice(0, 2), ["/latest/manifest.json", "/latest/manifest.json.sig"]);
  assert.ok(server.paths.includes(`/${NEW_VERSION}/postern-server-${TARGET}`));
});

Deno.test("update() from a server with a path below its root asks for nothing above it", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await Deno.mkdir(`${lab.dir}/www/some`, { recursive: true });
  await Deno.rename(lab.releasesDir, `${lab.dir}/www/some/where`);
  await using server = new ReleaseServer(`${lab.dir}/www`);
  await lab.update({ url: `${server.url}/some/where` });
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
  assert.ok(server.paths.every((path) => path.startsWith("/some/where/")));
});

Deno.test("update() follows a redirect within the server", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await using server = new ReleaseServer(
    lab.releasesDir,
    (_, url) =>
      url.pathname.startsWith("/old/")
        ? new Response(null, { status: 302, headers: { location: url.pathname.slice(4) } })
        : null,
  );
  await lab.update({ url: `${server.url}/old` });
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
});

Deno.test("update() follows no redirect to another server, port, scheme, user or nowhere", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await using other = new ReleaseServer(lab.releasesDir);
  const targets = [
    `${other.url}/latest/manifest.json`,
    "http://localhost/latest/manifest.json",
    "https://127.0.0.1/latest/manifest.json",
    `file://${lab.releasesDir}/latest/manifest.json`,
    "data:application/json,{}",
    "//evil.example/x",
    "http://[",
  ];
  for (const location of targets) {
    const redirect = (): Response => new Response(null, { status: 302, headers: { location } });
    await refuses(
      lab,
      redirect,
      /could not fetch latest\/manifest\.json: found a redirect to .*, accepted is one to http/,
    );
  }
  await refuses(lab, () => new Response(null, { status: 301 }), /found a redirect to nowhere/);
  await refuses(
    lab,
    (_, url) => new Response(null, { status: 307, headers: { location: `http://user:pw@${url.host}/x` } }),
    /found a redirect to http/,
  );
  assert.deepEqual(other.paths, []);
});

Deno.test("update() follows no circle of redirects", async () => {
  await using lab = await UpdateLab.make();
  await refuses(
    lab,
    (_, url) => new Response(null, { status: 308, headers: { location: `${url.pathname}x` } }),
    /more than 5 redirects/,
  );
});

Deno.test("update() takes no other answer than 200", async () => {
  await using lab = await UpdateLab.make();
  await refuses(
    lab,
    () => new Response("nothing here", { status: 404 }),
    /the server answered 404, accepted is 200/,
  );
  await refuses(lab, () => new Response("{}", { status: 206 }), /the server answered 206/);
  await refuses(lab, () => new Response(null, { status: 304 }), /the server answered 304/);
});

Deno.test("update() names a server that is not there", async () => {
  await using lab = await UpdateLab.make();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await assert.rejects(
    lab.update({ url: `http://127.0.0.1:${port}` }),
    /could not fetch latest\/manifest\.json: .*; nothing was changed$/,
  );
});

Deno.test("update() gives up a server that accepts and says nothing", async () => {
  await using lab = await UpdateLab.make();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const conn of listener) accepted.push(conn);
  })();
  await assert.rejects(
    lab.update({ url: `http://127.0.0.1:${listener.addr.port}` }),
    /the server said nothing for 300 ms; nothing was changed$/,
  );
  listener.close();
  await accepting.catch(() => {});
  for (const conn of accepted) conn.close();
});

Deno.test("update() gives up a file that stops in the middle, and one that comes too slowly", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await refuses(lab, (_, url) => {
    if (!isExecutable(url)) return null;
    return new Response(
      new ReadableStream({
        start(controller): void {
          controller.enqueue(new Uint8Array(3));
        },
      }),
    );
  }, /could not fetch .*postern-server.*: the server said nothing for 300 ms/);

  await using server = new ReleaseServer(
    lab.releasesDir,
    (_, url) => isExecutable(url) ? endless(1, 20) : null,
  );
  const machine = { ...lab.machine(), fetchLimits: { silenceTimeoutMs: 5000, fileTimeoutMs: 200 } };
  await assert.rejects(
    lab.update({ url: server.url }, machine),
    /could not fetch .*postern-server.*: not done after 200 ms; nothing was changed$/,
  );
});

Deno.test("update() reads no more of an endless answer than it has use for", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await refuses(lab, () => endless(65_536, null), /latest\/manifest\.json is longer than 1048576 bytes/);
  await refuses(
    lab,
    (_, url) => url.pathname.endsWith(".sig") ? endless(100, null) : null,
    /latest\/manifest\.json\.sig is longer than 256 bytes/,
  );
  await refuses(
    lab,
    (_, url) => isExecutable(url) ? endless(65_536, null) : null,
    /postern-server-.* is longer than the \d+ bytes of the manifest/,
  );
});

Deno.test("update() refuses a file whose connection breaks", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await refuses(lab, async (_, url): Promise<Response | null> => {
    if (!isExecutable(url)) return null;
    const bytes = await Deno.readFile(`${lab.releasesDir}${url.pathname}`);
    return new Response(bytes.subarray(0, -2), { headers: { "content-length": String(bytes.length) } });
  }, /could not fetch|ended after/);
});

Deno.test("update() refuses a small answer that unpacks to a large one", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await refuses(lab, async (_, url): Promise<Response | null> => {
    if (!isExecutable(url)) return null;
    const zeros = new Blob([new Uint8Array(10_000_000)]).stream().pipeThrough(new CompressionStream("gzip"));
    const body = new Uint8Array(await new Response(zeros).arrayBuffer());
    return new Response(body, { headers: { "content-encoding": "gzip" } });
  }, /is longer than the \d+ bytes of the manifest/);
});
