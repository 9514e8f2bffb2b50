/**
 * The only program in the commander's run permission; the check is on this very spelling.
 *
 * By itself, and without an import: it is needed both where programs are started and where permissions are only told.
 */
export const SHELL = "/bin/sh";
