/** What host.ts and plugin.ts agree on: both call and serve, on one connection. */
import { call, contract } from "@postern/postern";

export const plugin = contract({ render: call<{ text: string }, string>() });
export const host = contract({ setting: call<string, string | null>() });
