/** All programs of one run, which take turns at the same file: what else the machine does hits all alike. */
import { median } from "../quantile.ts";
import type { Beside } from "../row.ts";
import { aesFloor } from "./aes_floor.ts";
import { CrocRelay } from "./croc.ts";
import { WormholeServers } from "./magic_wormhole.ts";
import { PosternTransfer } from "./postern.ts";
import { runTransfer } from "./run.ts";
import type { SourceFile } from "./source_file.ts";
import type { MissingSubject, TransferSubject } from "./subject.ts";

/** How a file is sent again and again. */
export interface Turns {
  /** Transfers of each program. */
  readonly count: number;
  /** Records of the AES floor before each of them; 0: it is not taken. */
  readonly floorRecords: number;
  /** Told before each transfer. */
  readonly onTurn: (line: string) => void;
}

export interface Results {
  /** Seconds; null only if there were no turns. */
  readonly ours: number | null;
  /** In seconds. */
  readonly peers: readonly Beside[];
  /** In MB/s, taken between the transfers; null if it was not. */
  readonly floor: number | null;
}

/** The servers of all programs, running. */
export class Contest implements AsyncDisposable {
  readonly postern: PosternTransfer;
  readonly #peers: readonly (TransferSubject | MissingSubject)[];
  readonly #owned: AsyncDisposableStack;

  private constructor(
    postern: PosternTransfer,
    peers: readonly (TransferSubject | MissingSubject)[],
    owned: AsyncDisposableStack,
  ) {
    this.postern = postern;
    this.#peers = peers;
    this.#owned = owned;
  }

  /** @param parent where what is received and what the servers write comes */
  static async start(parent: string): Promise<Contest> {
    const folder = `${parent}/servers-${crypto.randomUUID()}`;
    await Deno.mkdir(folder);
    await using owned = new AsyncDisposableStack();
    owned.defer(() => Deno.remove(folder, { recursive: true }));
    const starting = [
      WormholeServers.start(folder).then((servers) => owned.use(servers)),
      CrocRelay.start().then((relay) => owned.use(relay)),
      PosternTransfer.start().then((relay) => owned.use(relay)),
    ] as const;
    await Promise.allSettled(starting); // if one fails, the others must be there to be ended
    const [wormhole, croc, postern] = await Promise.all(starting);
    return new Contest(postern, [...wormhole.subjects, croc.subject], owned.move());
  }

  /**
   * Sends a file with each program in turns.
   *
   * @throws {Error} if a program that is there fails, or brings another file
   */
  async run(source: SourceFile, parent: string, { count, floorRecords, onTurn }: Turns): Promise<Results> {
    const seconds = new Map<string, number[]>();
    const floors: number[] = [];
    for (let turn = 1; turn <= count; turn++) {
      for (const subject of [this.postern, ...this.#peers]) {
        if ("missing" in subject) continue;
        onTurn(`turn ${turn} of ${count}: ${subject.name}`);
        if (floorRecords > 0) floors.push(await aesFloor(floorRecords));
        const figures = await runTransfer(subject, source, parent);
        seconds.set(subject.name, [...seconds.get(subject.name) ?? [], figures.seconds]);
      }
    }
    const at = (name: string): number | null => median(seconds.get(name) ?? []);
    return {
      ours: at(this.postern.name),
      peers: this.#peers.map((peer) => ({
        name: peer.name,
        value: at(peer.name),
        ...("missing" in peer ? { missing: peer.missing } : {}),
      })),
      floor: median(floors),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}
