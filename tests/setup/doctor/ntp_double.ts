/** An NTP server on loopback that answers as a test says. */
import { NTP_BYTES } from "../../../src/setup/doctor/sntp.ts";

export interface NtpFields {
  readonly mode?: number;
  readonly version?: number;
  readonly leap?: number;
  readonly stratum?: number;
  readonly code?: string;
  /** Added to the present time. */
  readonly aheadMs?: number;
  readonly originate?: Uint8Array;
  readonly timestamps?: "zero" | "backwards";
}

const UNIX_EPOCH_SECONDS = 2_208_988_800n;

/** A good answer to a request but for the given fields. */
export function ntpAnswer(request: Uint8Array, fields: NtpFields = {}): Uint8Array {
  const { mode = 4, version = 4, leap = 0, stratum = 2, aheadMs = 0 } = fields;
  const answer = new Uint8Array(NTP_BYTES);
  const view = new DataView(answer.buffer);
  answer[0] = leap << 6 | version << 3 | mode;
  answer[1] = stratum;
  answer.set(new TextEncoder().encode(fields.code ?? ""), 12);
  answer.set(fields.originate ?? request.subarray(40, 48), 24);
  if (fields.timestamps !== "zero") {
    const now = timestamp(Date.now() + aheadMs);
    view.setBigUint64(32, now);
    view.setBigUint64(40, fields.timestamps === "backwards" ? now - (10n << 32n) : now);
  }
  return answer;
}

function timestamp(ms: number): bigint {
  const seconds = BigInt(Math.floor(ms / 1000)) + UNIX_EPOCH_SECONDS;
  return (seconds & 0xffff_ffffn) << 32n | BigInt(Math.floor((ms % 1000) / 1000 * 2 ** 32));
}

/** Sends what `answers` gives for each request, one datagram each; `elsewhere` goes out from another port. */
export class NtpDouble implements AsyncDisposable {
  readonly #socket: Deno.DatagramConn;
  readonly #other: Deno.DatagramConn;
  readonly #serving: Promise<void>;

  constructor(answers: (request: Uint8Array) => readonly Uint8Array[], elsewhere: readonly NtpFields[] = []) {
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    this.#other = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    this.#serving = this.#serve(answers, elsewhere);
  }

  get address(): string {
    const { addr } = this.#socket;
    if (!("port" in addr)) throw new Error("a UDP socket has a port");
    return `127.0.0.1:${addr.port}`;
  }

  async #serve(
    answers: (request: Uint8Array) => readonly Uint8Array[],
    elsewhere: readonly NtpFields[],
  ): Promise<void> {
    for await (const [request, from] of this.#socket) {
      for (const fields of elsewhere) await this.#other.send(ntpAnswer(request, fields), from);
      for (const answer of answers(request)) await this.#socket.send(answer, from);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    this.#other.close();
    await this.#serving;
  }
}
