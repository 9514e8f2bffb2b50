/** Dialogues over ports that docs/wire-formats.md shows, spoken by hand with the code at the other end. */
import assert from "node:assert/strict";
import type { BasePort } from "../../src/protocol/transport/message_port.ts";
import type { Connection, Transport } from "../../src/protocol/transport/transport.ts";
import { textByHand } from "./wire_formats_page.ts";

/** One line of a dialogue: who says it, where, and what. */
export interface Line {
  readonly side: string;
  readonly place: string;
  readonly text: string;
}

/** A dialogue of the page. */
export function dialogue(name: string): readonly Line[] {
  return textByHand(name).trimEnd().split("\n").map((line) => {
    const [, side = "", place = "", text = ""] = /^([DL]) (base|port) (.*)$/.exec(line) ?? [];
    return { side, place, text };
  });
}

/** Takes the messages that come in, one after the other. */
class Inbox {
  readonly #arrived: MessageEvent[] = [];
  #wake = (): void => {};

  constructor(port: MessagePort) {
    port.onmessage = (event) => {
      this.#arrived.push(event);
      this.#wake();
    };
  }

  async next(): Promise<MessageEvent> {
    for (;;) {
      const event = this.#arrived.shift();
      if (event !== undefined) return event;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}

type Fields = Record<string, unknown>;

/** Plays one side of a dialogue of the page by hand, against the code at the other end. */
export class Player {
  /** The channel of a connection, where there is one. */
  port: MessagePort | null = null;
  memory: SharedArrayBuffer | null = null;
  readonly #side: string;
  readonly #base: MessagePort;
  readonly #inbox: Inbox;
  #portInbox: Inbox | null = null;
  /** What the code drew itself, such as ids, by what stands for it on the page. */
  readonly #drawn = new Map<unknown, unknown>();

  constructor(side: string, base: MessagePort) {
    this.#side = side;
    this.#base = base;
    this.#inbox = new Inbox(base);
  }

  async play(lines: readonly Line[]): Promise<void> {
    for (const line of lines) {
      if (line.side === this.#side) this.#say(line);
      else await this.#hear(line);
    }
  }

  #say({ place, text }: Line): void {
    if (place === "port") {
      assert(this.port !== null);
      const isJson = /^["{]/.test(text);
      return this.port.postMessage(isJson ? JSON.parse(text) : Uint8Array.fromHex(text).buffer);
    }
    const message: Fields = JSON.parse(text);
    if ("id" in message) message["id"] = this.#drawn.get(message["id"]) ?? message["id"];
    if ("memory" in message) {
      message["memory"] = this.memory = new SharedArrayBuffer(Number(message["memory"]));
    }
    const isOpen = message["postern"] === "open";
    const { port1, port2 } = new MessageChannel();
    this.#base.postMessage(message, isOpen ? [port2] : []);
    if (isOpen) this.#take(port1);
    else [port1, port2].forEach((port) => port.close());
  }

  async #hear({ place, text }: Line): Promise<void> {
    if (place === "port") {
      assert(this.#portInbox !== null);
      const { data } = await this.#portInbox.next();
      if (data instanceof ArrayBuffer) return assert.equal(new Uint8Array(data).toHex(), text);
      if (typeof data === "string") return assert.equal(JSON.stringify(data), text);
      return this.#compare(data, JSON.parse(text));
    }
    const { data, ports } = await this.#inbox.next();
    this.#compare(data, JSON.parse(text));
    if (ports[0] !== undefined) this.#take(ports[0]);
  }

  /** The same members with the same values, but for what each side draws itself. */
  #compare(heard: Fields, shown: Fields): void {
    const alike = { ...heard };
    for (const member of ["id", "agent"]) {
      if (!(member in heard)) continue;
      assert.equal(typeof heard[member], typeof shown[member], member);
      assert.equal(String(heard[member]).length === 36, String(shown[member]).length === 36, member);
      if (!this.#drawn.has(shown[member])) this.#drawn.set(shown[member], heard[member]);
      assert.equal(heard[member], this.#drawn.get(shown[member]), `${member} stays the same`);
      alike[member] = shown[member];
    }
    if (heard["memory"] instanceof SharedArrayBuffer) {
      this.memory = heard["memory"];
      alike["memory"] = heard["memory"].byteLength;
    }
    assert.deepEqual(alike, shown);
  }

  #take(port: MessagePort): void {
    this.port = port;
    this.#portInbox = new Inbox(port);
  }
}

/** The part of it that is used here; Deno's types do not know it. */
interface Locks {
  request(name: string, act: () => Promise<void>): Promise<void>;
}

/** Lets the threads that a dialogue names live until it is disposed of. */
async function threadsOf(lines: readonly Line[]): Promise<Disposable> {
  const { locks } = navigator as unknown as { readonly locks: Locks };
  const over = Promise.withResolvers<void>();
  for (const { text } of lines) {
    const [, agent] = /"agent":"([^"]+)"/.exec(text) ?? [];
    if (agent === undefined) continue;
    const held = Promise.withResolvers<void>();
    void locks.request(`postern-agent/${agent}`, () => {
      held.resolve();
      return over.promise;
    });
    await held.promise;
  }
  return { [Symbol.dispose]: over.resolve };
}

/** A dialogue of the page with the code as its dialler, then with the code as its listener. */
export async function playBoth(
  lines: readonly Line[],
  transportOn: (base: BasePort) => Transport,
  act: (
    side: string,
    code: Promise<Connection | null>,
    player: Player,
    rest: readonly Line[],
  ) => Promise<void>,
): Promise<void> {
  using _threads = await threadsOf(lines);
  const setUp = lines.findIndex(({ text }) => /"postern":"(?:opened|ring-up)"/.test(text)) + 1;
  for (const side of ["D", "L"]) {
    const { port1, port2 } = new MessageChannel();
    const player = new Player(side === "D" ? "L" : "D", port2);
    const listener = side === "L" ? await transportOn(port1).listen() : null;
    const code = listener?.accept() ?? transportOn(port1).connect();
    // A dialler asks at once; that a listener began says nothing new to it.
    await player.play(lines.slice(side === "D" ? 1 : 0, setUp));
    await act(side, code, player, lines.slice(setUp));
    listener?.close();
    player.port?.close();
    port1.close();
    port2.close();
  }
}
