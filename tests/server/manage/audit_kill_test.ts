/** Several programs at one audit, some of them killed: no row that was acknowledged is missing, and the chain is whole. */
import assert from "node:assert/strict";
import { RegistryGround } from "./registry_ground.ts";

const appenderPath = new URL("./audit_appender.ts", import.meta.url).pathname;
const ENDLESS = 1_000_000;
const KILLS = 16;
const MAX_LIFE_MS = 40;

/** A row that a program has acknowledged. */
interface Acknowledged {
  readonly number: number;
  readonly name: string;
  readonly n: number;
}

class Appender {
  readonly acknowledged: Acknowledged[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #sawFirst: () => void = () => {};
  readonly first = new Promise<void>((resolve) => this.#sawFirst = resolve);

  constructor(folder: string, name: string, count: number) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-prompt",
        "--cached-only",
        `--allow-read=${folder}`,
        `--allow-write=${folder}`,
        appenderPath,
        folder,
        name,
        String(count),
      ],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#reading = this.#read();
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async ended(): Promise<Deno.CommandStatus> {
    const status = await this.#child.status;
    await this.#reading;
    this.#sawFirst(); // one that was killed too early has none
    return status;
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const [number, name = "", n] = line.split(" ");
        this.acknowledged.push({ number: Number(number), name, n: Number(n) });
      }
      if (this.acknowledged.length > 0) this.#sawFirst();
    }
  }
}

function requireAll(ground: RegistryGround, acknowledged: readonly Acknowledged[]): void {
  const verdict = ground.registry.audit.verify();
  assert.ok(verdict.isSound, JSON.stringify(verdict));
  const rows = new Map(ground.rows().map((row) => [row.number, row]));
  assert.equal(rows.size, verdict.head.number);
  for (const { number, name, n } of acknowledged) {
    const body = rows.get(number)?.body;
    assert.ok(typeof body === "object", `row ${number} of ${name} is missing`);
    assert.equal(body["host"], name);
    assert.equal(body["n"], n);
  }
}

Deno.test(
  "append() by three programs at once keeps one whole chain with every row",
  { timeout: 60_000 },
  async () => {
    await using ground = await RegistryGround.make();
    const before = ground.registry.audit.head().number;
    const appenders = ["a", "b"].map((name) => new Appender(ground.folder.path, name, 200));
    await Promise.all(appenders.map(({ first }) => first));
    for (let n = 0; n < 50; n++) ground.registry.audit.append("link_up", { host: "here", n });
    for (const appender of appenders) assert.equal((await appender.ended()).code, 0);
    const acknowledged = appenders.flatMap((appender) => appender.acknowledged);
    assert.equal(acknowledged.length, 400);
    requireAll(ground, acknowledged);
    assert.equal(ground.registry.audit.head().number, before + 450);
  },
);

Deno.test(
  `append() killed ${KILLS} times leaves a whole chain, without losing a row that was acknowledged`,
  { timeout: 120_000 },
  async () => {
    await using ground = await RegistryGround.make();
    const acknowledged: Acknowledged[] = [];
    for (let round = 0; round < KILLS; round++) {
      const appender = new Appender(ground.folder.path, `r${round}`, ENDLESS);
      const ended = appender.ended();
      await Promise.race([appender.first, ended]);
      // Sometimes another one writes, and has to find the lock given back.
      if (round % 3 === 0) ground.registry.audit.append("link_up", { host: "here", n: round });
      await new Promise((resolve) => setTimeout(resolve, Math.random() * MAX_LIFE_MS));
      appender.kill();
      assert.equal((await ended).signal, "SIGKILL");
      acknowledged.push(...appender.acknowledged);
      requireAll(ground, appender.acknowledged);
    }
    assert.ok(acknowledged.length > 10 * KILLS, "too few rows to mean anything");
    requireAll(ground, acknowledged);
  },
);
