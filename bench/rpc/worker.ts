/** The answering thread; the first message names program and payload, and "ready" is the answer. */
import { load, LOCAL_PROGRAMS } from "./programs.ts";
import type { WorkerScope } from "./subject.ts";

const scope = self as unknown as WorkerScope;

scope.addEventListener("message", async ({ data: { program, payload } }) => {
  await (await load(LOCAL_PROGRAMS, program)).serve(scope, payload);
  scope.postMessage("ready");
}, { once: true });
