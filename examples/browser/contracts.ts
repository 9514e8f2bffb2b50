/** What the server and the page call of each other. */
import { call, contract, stream } from "@postern/postern/browser";

/** Served by the program. */
export const desk = contract({
  greet: call<{ name: string }, string>(),
  countdown: stream<{ from: number; everyMs: number }, number>(),
  report: call<{ shown: string }, null>(),
});

/** Served by the page, on the connection that the page has opened. */
export const page = contract({
  title: call<null, string>(),
});
