/** A relay in this process, on a port of its own. */
import { parseListenAddress } from "../../../src/server/knock/listen_address.ts";
import { Relay } from "../../../src/server/relay/relay.ts";
import { Log } from "../../../src/system/log.ts";
import { FakeClock } from "../../commander/fake_clock.ts";
import { until } from "../../e2e/until.ts";
import { IDENTIFIER_BYTES, Peer } from "./peer.ts";
import { limitsOf, type LimitsOptions } from "./wide_limits.ts";

/** What a test wants otherwise. */
export interface RunningRelayOptions extends LimitsOptions {
  /** @default "127.0.0.1:0" */
  readonly bind?: string;
  readonly identifierBytes?: number;
  readonly statusPath?: string;
}

/** Time stands still for its limits until a test moves the clock. */
export class RunningRelay implements AsyncDisposable {
  readonly relay: Relay;
  readonly clock: FakeClock;
  /** Log lines so far. */
  readonly lines: string[];

  private constructor(relay: Relay, clock: FakeClock, lines: string[]) {
    this.relay = relay;
    this.clock = clock;
    this.lines = lines;
  }

  static async start(options: RunningRelayOptions = {}): Promise<RunningRelay> {
    const clock = new FakeClock();
    const lines: string[] = [];
    const log = new Log({ role: "relay", format: "text", clock, write: (line) => lines.push(line) });
    const address = parseListenAddress(options.bind ?? "127.0.0.1:0");
    if (address === null) throw new TypeError(`no address: ${options.bind}`);
    const relay = await Relay.start({
      address,
      identifierBytes: options.identifierBytes ?? IDENTIFIER_BYTES,
      limits: limitsOf(options),
      statusPath: options.statusPath ?? null,
    }, { log, clock, tickMs: 5 });
    return new RunningRelay(relay, clock, lines);
  }

  get address(): string {
    return this.relay.address;
  }

  /** Waits until so many are parked. */
  async parked(count: number): Promise<void> {
    await until(`${count} are parked`, () => this.relay.snapshot().parked === count, { pollMs: 1 });
  }

  async stapled(count: number): Promise<void> {
    await until(`${count} are stapled`, () => this.relay.snapshot().staples === count, { pollMs: 1 });
  }

  async arriving(count: number): Promise<void> {
    await until(`${count} arrive`, () => this.relay.snapshot().arriving === count, { pollMs: 1 });
  }

  /** Somebody who is parked. */
  async park(identifier: string, early = ""): Promise<Peer> {
    const { parked } = this.relay.snapshot();
    const peer = await Peer.come(this.address, identifier, early);
    await this.parked(parked + 1);
    return peer;
  }

  /** Two who are stapled. */
  async pair(identifier: string): Promise<[Peer, Peer]> {
    const { staples } = this.relay.snapshot();
    const parked = await this.park(identifier);
    const arrived = await Peer.come(this.address, identifier);
    await this.stapled(staples + 1);
    return [parked, arrived];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.relay.stop();
  }
}
