/**
 * Names of hosts, administrators and tags. They stand in tables, logs, file names and policies, so that nothing is in
 * them that a shell, a terminal or a path would take for something else.
 */

/** The form, for messages. */
export const NAME_FORM = "1 to 64 characters out of a-z 0-9 . _ -, the first one a letter or a digit";

/** Longest name, in characters and bytes. */
export const MAX_NAME_BYTES = 64;

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Whether a text is the name of a host, an administrator or a tag. */
export function isName(text: string): boolean {
  return NAME.test(text);
}
