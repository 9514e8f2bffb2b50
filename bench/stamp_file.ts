/**
 * What the triggered commands leave behind: one line each, `ID NANOSECONDS`, written by `date`. The id is the IPv4
 * address that the knock asked for, the one thing that both programs hand from the packet to the command.
 */
const NS_PER_US = 1000n;
const US_PER_MS = 1000;

export class StampFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** The shell line that stamps; `id` is what the shell puts in for the id. Both programs run this very line. */
  command(id: string): string {
    return `exec /bin/date "+${id} %s%N" >> '${this.path}'`;
  }

  /** Unix milliseconds of every run, by id. */
  read(): Map<string, number[]> {
    const stamps = new Map<string, number[]>();
    for (const line of this.#text().split("\n")) {
      const [id, nanoseconds] = line.split(" ");
      if (id === undefined || nanoseconds === undefined) continue;
      const ms = Number(BigInt(nanoseconds) / NS_PER_US) / US_PER_MS;
      const known = stamps.get(id);
      if (known === undefined) stamps.set(id, [ms]);
      else known.push(ms);
    }
    return stamps;
  }

  #text(): string {
    try {
      return Deno.readTextFileSync(this.path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  }
}

let nextId = 0;

/** Addresses that were never used before in this process, so that each knock is known by its stamp. */
export function freshIds(count: number): string[] {
  return Array.from({ length: count }, () => {
    const id = nextId++;
    return `10.64.${id >> 8}.${id & 255}`;
  });
}
