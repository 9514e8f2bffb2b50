/**
 * What a published service says of itself, and the text it is kept as:
 *
 *   {"version":1,"name":"MATH","instance":"<32 hex digits>","transport":"tcp","codec":"json",
 *    "addresses":["127.0.0.1:1337"],"pid":4242,"startTimeMs":...,"leaseMs":10000,"beat":7,"renewedAtMs":...}
 *
 * A record is only a hint where to knock: it authenticates nobody, and whoever connects finds out in the handshake.
 */

/** Where a service is to be found. */
export interface ServiceRecord {
  /** Name of the service. */
  readonly name: string;
  /** 16 random bytes in hex, drawn for each publication: two publishers of one name are two instances. */
  readonly instance: string;
  /** Name of the transport, as `Transport.name`. */
  readonly transport: string;
  /** Id of the codec. */
  readonly codec: string;
  /** What `Transport.connect` takes, in the order to try. */
  readonly addresses: readonly string[];
  /** Process of the publisher, for people; nothing is decided by it, for numbers are used again. */
  readonly pid: number;
  /** When that process started, milliseconds since 1970 by its wall clock; newer publishers are listed first. */
  readonly startTimeMs: number;
}

/** A record as it is kept: with its lease. */
export interface LeasedRecord {
  readonly record: ServiceRecord;
  /** How long the record holds without being renewed, in milliseconds. */
  readonly leaseMs: number;
  /** How often it was renewed. */
  readonly beat: number;
  /** When it was renewed, milliseconds since 1970 by the publisher's wall clock. */
  readonly renewedAtMs: number;
}

/** Version of the text. */
const RECORD_VERSION = 1;
/** Bytes of an instance id. */
export const INSTANCE_BYTES = 16;
/** Longest text of a record, in characters: all of them ASCII. */
export const MAX_RECORD_CHARACTERS = 4096;
/** Most addresses in one record. */
export const MAX_ADDRESSES = 16;
/** Longest lease; longer ones would keep the crashed for hours where nothing but the lease tells. */
const MAX_LEASE_MS = 3_600_000;

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const INSTANCE = /^[0-9a-f]{32}$/;
const WORD = /^[a-z0-9][a-z0-9._-]{0,31}$/i;
const ADDRESS = /^[\x20-\x7e]{1,512}$/;

/**
 * Gives a service name back, or refuses it. Names become file names and registry keys as they are: they are never
 * rewritten to fit, since two names could then meet in one place.
 *
 * @throws {TypeError} if it is none
 */
export function serviceName(name: string): string {
  if (!NAME.test(name)) {
    throw new TypeError(
      `cannot use ${
        JSON.stringify(name.slice(0, 80))
      } as a service name: it wants 1 to 64 characters out of A-Z a-z 0-9 _ . - and begins with a letter or digit`,
    );
  }
  return name;
}

/** Whether this is the id of an instance. */
export function isInstance(text: string): boolean {
  return INSTANCE.test(text);
}

/**
 * Writes a record down.
 *
 * @throws {TypeError} if a field is not of its form: what could not be read back is not written
 */
export function formatRecord(leased: LeasedRecord): string {
  const { record, leaseMs, beat, renewedAtMs } = leased;
  const text = JSON.stringify({
    version: RECORD_VERSION,
    name: record.name,
    instance: record.instance,
    transport: record.transport,
    codec: record.codec,
    addresses: record.addresses,
    pid: record.pid,
    startTimeMs: record.startTimeMs,
    leaseMs,
    beat,
    renewedAtMs,
  });
  if (parseRecord(text) === null) {
    throw new TypeError(
      `cannot publish "${record.name}": a record wants 1 to ${MAX_ADDRESSES} addresses of printable ASCII, at most ` +
        `512 characters each and ${MAX_RECORD_CHARACTERS} in all, and a lease of 1 to ${MAX_LEASE_MS} ms`,
    );
  }
  return text;
}

/** Reads a record; null for anything that `formatRecord` would not write. */
export function parseRecord(text: string): LeasedRecord | null {
  if (text.length > MAX_RECORD_CHARACTERS) return null;
  const fields = parseFields(text);
  if (fields === null || fields.get("version") !== RECORD_VERSION) return null;
  const name = matching(fields.get("name"), NAME);
  const instance = matching(fields.get("instance"), INSTANCE);
  const transport = matching(fields.get("transport"), WORD);
  const codec = matching(fields.get("codec"), WORD);
  const addresses = addressesOf(fields.get("addresses"));
  const pid = wholeNumber(fields.get("pid"));
  const startTimeMs = wholeNumber(fields.get("startTimeMs"));
  const leaseMs = wholeNumber(fields.get("leaseMs"));
  const beat = wholeNumber(fields.get("beat"));
  const renewedAtMs = wholeNumber(fields.get("renewedAtMs"));
  if (
    name === null || instance === null || transport === null || codec === null || addresses === null ||
    pid === null || startTimeMs === null || leaseMs === null || beat === null || renewedAtMs === null ||
    leaseMs < 1 || leaseMs > MAX_LEASE_MS
  ) return null;
  const record = { name, instance, transport, codec, addresses, pid, startTimeMs };
  return { record, leaseMs, beat, renewedAtMs };
}

function parseFields(text: string): ReadonlyMap<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
    return new Map(Object.entries(value));
  } catch {
    return null;
  }
}

function matching(value: unknown, form: RegExp): string | null {
  return typeof value === "string" && form.test(value) ? value : null;
}

function wholeNumber(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function addressesOf(value: unknown): readonly string[] | null {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_ADDRESSES) return null;
  const addresses = value.map((each: unknown) => matching(each, ADDRESS));
  return addresses.every((each) => each !== null) ? addresses : null;
}
