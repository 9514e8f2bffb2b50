/**
 * The first floor of a key: the time at which it came into use, so that no packet made before counts.
 *
 * A machine without a clock of its own boots in 1970. A floor of that time is below every packet ever made with the
 * key, and whoever recorded one could use it. (A clock that is wrong by less is the operator's to see to.)
 */
import type { Key } from "../../protocol/knock/key.ts";
import type { Clock } from "../../system/clock.ts";
import { Failure } from "../../system/failure.ts";
import type { FloorsFile } from "./floors_file.ts";

/** A key with the name an operator knows it by. */
export interface NamedKey {
  readonly stem: string;
  readonly key: Key;
}

/** Before this program existed. */
const CREDIBLE_FROM = "2026-01-01";
const CREDIBLE_FROM_MS = Date.parse(`${CREDIBLE_FROM}T00:00:00Z`);
const CLOCK_HINT =
  "set the clock, or wait until it is synchronised: by a floor of that time every packet ever made " +
  "with the key would count as new";

/**
 * Gives each key without a floor one of now, durably. A key that has a floor needs no clock.
 *
 * @throws {Failure} if some key needs one and the clock is obviously wrong, or if it cannot be saved; no key has got
 * a floor then that would count after a restart
 */
export async function seedFirstFloors(
  file: FloorsFile,
  keys: readonly NamedKey[],
  clock: Clock,
): Promise<void> {
  requireCredibleClock(file, keys, clock);
  await file.seed(keys.map(({ key }) => key.id), clock.wallNs());
}

/** @throws {Failure} naming the keys, if some need a first floor and the clock is obviously wrong */
export function requireCredibleClock(file: FloorsFile, keys: readonly NamedKey[], clock: Clock): void {
  const nowMs = clock.wallMs();
  if (nowMs >= CREDIBLE_FROM_MS) return;
  const stems = keys.filter(({ key }) => file.floors.get(key.id) === undefined).map(({ stem }) => stem);
  if (stems.length === 0) return;
  const whose = stems.length === 1 ? `key ${stems[0]} its` : `keys ${stems.join(", ")} their`;
  throw new Failure(
    `cannot give ${whose} first floor: the clock says ${new Date(nowMs).toISOString()}, ` +
      `accepted is a time after ${CREDIBLE_FROM}`,
    { hint: CLOCK_HINT },
  );
}
