/**
 * How many may be connected at once. A place is given out only after the handshake has proved what it has to, so that
 * nobody takes one by merely connecting.
 *
 * One to one:
 *
 *   free --- asked ---> promised --- occupied ---> held --- holder's connection ends ---> free
 *                          |                        |
 *                          +-- given back --> free  +-- asked --> holder is pinged: it answers ("taken"),
 *                                                                 or does not: it is closed, and the place free
 */
import type { CloseReason } from "./errors.ts";
import type { RefusalReason } from "./handshake.ts";

/** Of a peer, what a place needs of it. */
export interface PlaceHolder {
  readonly closed: Promise<unknown>;
  ping(timeoutMs?: number): Promise<number>;
  close(reason?: CloseReason, message?: string): void;
}

/** A place for one connection. */
export interface Place {
  /** Gives it to a connected peer, until its connection ends. */
  occupy(holder: PlaceHolder): void;
  /** Gives it back, where the handshake failed after all. */
  giveBack(): void;
}

/** Gives places out. */
export interface Places {
  /** A place, or why there is none. */
  ask(): Promise<Place | RefusalReason>;
}

/** Room for so many at once. Ghosts among them are found by the keep-alive of their connections. */
export function placesForMany(maxConnections: number): Places {
  let taken = 0;
  return {
    ask(): Promise<Place | RefusalReason> {
      if (taken >= maxConnections) return Promise.resolve("too_many_connections");
      taken++;
      const giveBack = once(() => {
        taken--;
      });
      return Promise.resolve({
        occupy: (holder: PlaceHolder): void => void holder.closed.then(giveBack),
        giveBack,
      });
    },
  };
}

/** How long the holder of the one place has to answer when another wants it. */
export const GHOST_PING_MS = 3_000;

/** Room for one, and no room for a ghost. */
export function onePlace(pingMs: number = GHOST_PING_MS): Places {
  let holder: PlaceHolder | null = null;
  let isPromised = false;
  /** All who ask meanwhile wait for the same answer. */
  let probe: Promise<boolean> | null = null;

  function free(of: PlaceHolder): void {
    if (holder === of) holder = null;
  }

  async function isGhost(of: PlaceHolder): Promise<boolean> {
    try {
      await of.ping(pingMs);
      return false;
    } catch {
      // Not answered in time, or its connection is going anyway.
      free(of);
      of.close("silent", "another peer wants the place, and no answer came in time");
      return true;
    } finally {
      probe = null;
    }
  }

  function promise(): Place {
    isPromised = true;
    const giveBack = once(() => {
      isPromised = false;
    });
    return {
      occupy(peer): void {
        giveBack();
        holder = peer;
        void peer.closed.then(() => free(peer));
      },
      giveBack,
    };
  }

  return {
    async ask(): Promise<Place | RefusalReason> {
      if (!isPromised && holder !== null) {
        probe ??= isGhost(holder);
        if (!await probe) return "taken";
      }
      // Whoever waited for the same answer may have been quicker.
      return isPromised || holder !== null ? "taken" : promise();
    },
  };
}

function once(act: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    act();
  };
}
