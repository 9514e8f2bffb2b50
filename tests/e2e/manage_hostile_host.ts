/** What an attacker's own host does with calls that no test is about. */
import type { hostForAdmin } from "../../src/protocol/manage/session_contract.ts";
import type { Handlers } from "../../src/protocol/rpc/contract.ts";
import { ApplicationError } from "../../src/protocol/rpc/errors.ts";

/** Refuses each. */
export const refusing: Handlers<typeof hostForAdmin> = {
  shell: () => refused(),
  exec: () => refused(),
  connect: () => refused(),
};

function refused(): never {
  throw new ApplicationError("refused_by_host", "not here");
}
