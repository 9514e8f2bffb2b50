/** What serve.ts and connect.ts agree on. */
import { call, contract } from "@postern/postern";

export const greeter = contract({ greet: call<{ name: string }, string>() });
