/** What the words of `postern server manage` say; the permission table reads them as well, in every executable. */
import { LISTEN_ADDRESS_FORMS, parseListenAddress } from "../server/knock/listen_address.ts";
import type { ManageConfig } from "../server/manage/config.ts";
import { UsageFailure } from "../system/failure.ts";
import { absolutePath } from "../system/path.ts";
import type { OptionValues } from "./parse.ts";

/**
 * What the options of `server manage` say.
 *
 * @throws {UsageFailure} if the address is none
 */
export function manageConfig(values: OptionValues): ManageConfig {
  const bind = values.requiredText("bind");
  const address = parseListenAddress(bind);
  if (address === null) {
    throw new UsageFailure(
      `cannot use option --bind: found "${bind}", accepted: ${LISTEN_ADDRESS_FORMS}`,
    );
  }
  return { folder: absolutePath(values.requiredText("dir")), address };
}
