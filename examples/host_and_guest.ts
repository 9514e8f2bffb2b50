/** What host.ts and guest.ts agree on: each serves one contract and calls the other's. */
import { call, contract } from "@postern/postern";

export const host = contract({ report: call<string, void>() });
export const guest = contract({ sum: call<number[], number>() });
