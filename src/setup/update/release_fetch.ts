/** Fetching one file of a release from a server that may be slow, broken or hostile. */
import { describeError, Failure } from "../../system/failure.ts";
import { escapeHidden } from "../../system/visible_text.ts";
import { hasPermission } from "../../system/permissions.ts";
import { serverScope } from "./release_location.ts";

export interface FetchLimits {
  /** Longest time without a byte. */
  readonly silenceTimeoutMs: number;
  /** Longest time for one file, for a server that sends a byte now and then. */
  readonly fileTimeoutMs: number;
}

export const FETCH_LIMITS: FetchLimits = { silenceTimeoutMs: 30_000, fileTimeoutMs: 30 * 60_000 };

const MAX_REDIRECTS = 5;
const HTTP_OK = 200;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

/**
 * Streams the body at `url`.
 *
 * A redirect is followed only to the same scheme, host and port: the sandbox grants no other, and a server must
 * not be able to make this machine, from inside its network, ask others for things.
 *
 * @param name names the file in failures
 * @throws {Failure} for any answer but 200, too many or foreign redirects, silence
 */
export async function* fetchRelease(
  url: URL,
  name: string,
  limits: FetchLimits,
): AsyncGenerator<Uint8Array, void> {
  const host = serverScope(url);
  if (!hasPermission({ name: "net", host })) {
    throw new Failure(`could not fetch ${name}: no permission to connect to ${host}`, {
      hint: `add --allow-net=${host} to deno run`,
    });
  }
  using patience = new Patience(name, limits);
  const response = await follow(url, name, patience);
  if (response.body === null) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await patience.wait(() => reader.read());
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function follow(start: URL, name: string, patience: Patience): Promise<Response> {
  let url = start;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const from = url;
    const response = await patience.wait(() =>
      fetch(from, {
        redirect: "manual",
        signal: patience.signal,
        // The size that counts is that of the file; nothing is gained by packing it, and a bomb is ruled out.
        headers: { "accept-encoding": "identity" },
      })
    );
    if (response.status === HTTP_OK) return response;
    await response.body?.cancel().catch(() => {});
    if (!REDIRECTS.includes(response.status)) {
      throw new Failure(`could not fetch ${name}: the server answered ${response.status}, accepted is 200`);
    }
    url = redirected(response.headers.get("location"), from, name);
  }
  throw new Failure(`could not fetch ${name}: more than ${MAX_REDIRECTS} redirects`);
}

function redirected(target: string | null, from: URL, name: string): URL {
  const url = target !== null && URL.canParse(target, from) ? new URL(target, from) : null;
  if (url !== null && url.origin === from.origin && url.username === "" && url.password === "") return url;
  const found = url === null ? "nowhere" : escapeHidden(url.origin);
  throw new Failure(
    `could not fetch ${name}: found a redirect to ${found}, accepted is one to ${from.origin}`,
    {
      hint: "if you trust that place, name it with --from",
    },
  );
}

/** Gives up a transfer that says nothing, or takes for ever. */
class Patience implements Disposable {
  readonly #abort = new AbortController();
  readonly #name: string;
  readonly #limits: FetchLimits;
  readonly #deadline: ReturnType<typeof setTimeout>;

  constructor(name: string, limits: FetchLimits) {
    this.#name = name;
    this.#limits = limits;
    this.#deadline = setTimeout(() => {
      this.#abort.abort(new Failure(`could not fetch ${name}: not done after ${limits.fileTimeoutMs} ms`));
    }, limits.fileTimeoutMs);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The clock of silence runs only while the server is waited for, not while our own disk is. */
  async wait<T>(act: () => Promise<T>): Promise<T> {
    const { silenceTimeoutMs } = this.#limits;
    const timer = setTimeout(() => {
      this.#abort.abort(
        new Failure(`could not fetch ${this.#name}: the server said nothing for ${silenceTimeoutMs} ms`),
      );
    }, silenceTimeoutMs);
    try {
      return await act();
    } catch (error) {
      if (this.signal.reason instanceof Failure) throw this.signal.reason;
      throw new Failure(`could not fetch ${this.#name}: ${describeError(error)}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#deadline);
    this.#abort.abort();
  }
}
