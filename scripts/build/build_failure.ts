/** What ends a build with a message instead of a stack trace. */
export class BuildFailure extends Error {
  override readonly name = "BuildFailure";
}
