/** How the commands of an administrator fail: in words for people, and with 255 where a program's exit code was wanted. */
import { Failure, UsageFailure } from "../system/failure.ts";
import { HostKeyChanged } from "../client/manage/known_hosts.ts";
import { toldFailure } from "../client/manage/told_failure.ts";
import { exit, printFailure } from "./terminal.ts";

/** There is no exit code of a program: no session could be opened, or it was lost. As ssh has it. */
export const EXIT_NO_SESSION = 255;

/** What the failure is about. */
export interface FailureContext {
  /** Name of the host. */
  readonly host?: string | undefined;
  /** The command line that accepts a host's new key, for the hint. */
  readonly acceptLine?: string;
}

/** What is thrown on, instead of what was thrown. */
export function manageFailure(error: unknown, { host, acceptLine }: FailureContext = {}): unknown {
  if (error instanceof HostKeyChanged && acceptLine !== undefined) {
    return new Failure(error.message, {
      hint:
        `somebody may stand in between; if ${error.host} was set up anew, this accepts its new key: ${acceptLine}`,
    });
  }
  return toldFailure(error, host);
}

/** Prints the failure of a session and ends the program with 255; with 2 if the command line was wrong. */
export function exitWithoutSession(error: unknown, context: FailureContext = {}): never {
  const failure = manageFailure(error, context);
  const code = printFailure(failure, false);
  exit(failure instanceof UsageFailure ? code : EXIT_NO_SESSION);
}
