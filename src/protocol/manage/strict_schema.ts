/**
 * Forms of values that a hostile other side may have sent, and schemas of the Standard Schema interface made of them.
 * A value passes as it is or not at all: nothing is filled in, converted or dropped, and a key that is not named is
 * refused. What is said against a value never repeats it.
 */
import type { Schema, SchemaIssue } from "../rpc/contract.ts";
import { isVisibleText } from "./shown_text.ts";

/** Says what is wrong with a value, or null. `Value` is what passes. */
export interface Form<Value> {
  (value: unknown): SchemaIssue | null;
  /** Never there at run time. */
  readonly "~value"?: Value;
}

/** Makes a schema of a form. */
export function strictSchema<Value>(form: Form<Value>): Schema<Value> {
  return {
    "~standard": {
      version: 1,
      validate: (value): { readonly value: Value } | { readonly issues: readonly SchemaIssue[] } => {
        const issue = form(value);
        return issue === null ? { value: value as Value, issues: undefined } : { issues: [issue] };
      },
    },
  };
}

function formOf<Value>(passes: (value: unknown) => boolean, wanted: string): Form<Value> {
  return (value) => passes(value) ? null : { message: `it wants ${wanted}` };
}

/** Null, which is how a method without a word to say answers. */
export const nothing: Form<null> = formOf((value) => value === null, "null");

/** True or false. */
export const yesOrNo: Form<boolean> = formOf((value) => typeof value === "boolean", "true or false");

/** A whole number of a range, both ends in it. */
export function whole(min: number, max: number): Form<number> {
  return formOf(
    (value) => Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max,
    `a whole number from ${min} to ${max}`,
  );
}

/** Whole from 0 on, as far as numbers are exact. */
export const counted: Form<number> = whole(0, Number.MAX_SAFE_INTEGER);

/** From 0 on, whole or not: clocks have fractions of a millisecond. */
export const duration: Form<number> = formOf(
  (value) => typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER,
  "a number from 0 on",
);

/** Text that a pattern knows; the pattern begins with ^, ends with $ and bounds the length. */
export function textOf(pattern: RegExp): Form<string> {
  return formOf((value) => typeof value === "string" && pattern.test(value), `text like ${pattern.source}`);
}

/** Text for people, on one line. */
export function visibleText(maxCharacters: number): Form<string> {
  return formOf(
    (value) => typeof value === "string" && value.length <= maxCharacters && isVisibleText(value),
    `text of at most ${maxCharacters} visible characters`,
  );
}

/** One of some words. */
export function wordOf<const Word extends string>(...words: readonly Word[]): Form<Word> {
  return formOf((value) => words.includes(value as Word), `one of ${words.join(", ")}`);
}

/** Bytes of a length, both ends in it. */
export function bytesOf(min: number, max: number = min): Form<Uint8Array<ArrayBuffer>> {
  return formOf(
    (value) => value instanceof Uint8Array && value.length >= min && value.length <= max,
    `${min === max ? min : `${min} to ${max}`} bytes`,
  );
}

/** What a form lets through, or null. */
export function orNull<Value>(form: Form<Value>): Form<Value | null> {
  return (value) => value === null ? null : form(value);
}

/** An array without holes. */
export function listOf<Value>(form: Form<Value>, min: number, max: number): Form<readonly Value[]> {
  return (value) => {
    if (!Array.isArray(value) || value.length < min || value.length > max) {
      return { message: `it wants an array of ${min} to ${max}` };
    }
    for (let at = 0; at < value.length; at++) {
      const issue = form(value[at]);
      if (issue !== null) return within(at, issue);
    }
    return null;
  };
}

/** An object of exactly these keys, all of them its own. */
export function objectOf<Value extends object>(
  fields: { readonly [Key in keyof Value]-?: Form<Value[Key]> },
): Form<Value> {
  const forms = Object.entries<Form<unknown>>(fields);
  return (value) => {
    if (typeof value !== "object" || value === null) return { message: "it wants an object" };
    for (const [key, form] of forms) {
      const own = Object.getOwnPropertyDescriptor(value, key);
      if (own === undefined) return { message: "it is missing", path: [key] };
      // A getter, which could say something else the next time, has no value here.
      const issue = form(own.value);
      if (issue !== null) return within(key, issue);
    }
    // Which key it is stays untold: whoever sent it has chosen its name.
    return Reflect.ownKeys(value).length === forms.length
      ? null
      : { message: "it has a key that is not known" };
  };
}

/** What one of several forms lets through; they differ in their keys or types, so that at most one does. */
export function anyOf<Values extends readonly unknown[]>(
  ...forms: { readonly [At in keyof Values]: Form<Values[At]> }
): Form<Values[number]> {
  return (value) =>
    forms.some((form) => form(value) === null)
      ? null
      : { message: "it has none of the forms that are accepted" };
}

function within(key: PropertyKey, issue: SchemaIssue): SchemaIssue {
  return { message: issue.message, path: [key, ...(issue.path ?? [])] };
}
