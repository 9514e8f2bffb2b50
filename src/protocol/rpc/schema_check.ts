/** Values against the schemas of a contract. */
import type { Schema, SchemaIssue, SchemaResult } from "./contract.ts";
import { RpcError } from "./errors.ts";

/** Keys may come from whoever made the value. */
const MAX_PLACE_CHARACTERS = 100;

/**
 * Checks a value.
 *
 * @param what names it in the error, such as `the input of "add"`; the value itself is never repeated
 * @returns what the schema makes of it, or a promise of that where the schema takes its time
 * @throws {RpcError} "invalid_argument", or the promise is rejected with it
 */
export function checked(schema: Schema<unknown>, value: unknown, what: string): unknown {
  const result = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then((late) => accepted(late, what)) : accepted(result, what);
}

function accepted(result: SchemaResult<unknown>, what: string): unknown {
  if (result.issues !== undefined) {
    const found = `it does not have the form of the contract${placeOf(result.issues[0])}`;
    throw new RpcError("invalid_argument", `cannot take ${what}: ${found}`);
  }
  return result.value;
}

/** Where the first thing lies that the schema refuses: keys, never what is there, nor words that may repeat it. */
function placeOf(issue: SchemaIssue | undefined): string {
  const keys = issue?.path?.map((step) => String(typeof step === "object" ? step.key : step)) ?? [];
  return keys.length === 0 ? "" : ` at ${keys.join(".").slice(0, MAX_PLACE_CHARACTERS)}`;
}

/** Whether something is to be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (typeof value === "object" || typeof value === "function") && value !== null && "then" in value &&
    typeof value.then === "function";
}
