/** The version that the sources name. */
import config from "../../deno.json" with { type: "json" };

export const version = config.version;
