/** Joins configuration and key files to what the judge goes by. */
import { configFailure } from "../../system/toml_file.ts";
import type { ServerConfig } from "./config.ts";
import { isInForce, OPEN_GRANT } from "./grants.ts";
import type { KeyGrant } from "./grants.ts";
import type { JudgeKey, JudgePolicy } from "./judge.ts";
import type { KeyFile } from "./keys.ts";

const NS_PER_SECOND = 1_000_000_000n;

/**
 * @throws {Failure} if a `[keys.<stem>]` table has no key file: the operator restricts a key of another name than
 * he thinks, and the one he means would stand open
 */
export function buildPolicy(config: ServerConfig, keys: readonly KeyFile[]): JudgePolicy {
  const stems = new Set(keys.map((file) => file.stem));
  for (const stem of config.grants.keys()) {
    if (!stems.has(stem)) {
      throw configFailure(
        config.source,
        ["keys", stem],
        `found no file ${stem}.key in ${config.configDir}, accepted are tables of existing key files`,
      );
    }
  }
  const global = config.maxRequestsPerSecondGlobal;
  return {
    keys: keys.filter((file) => !grantOf(config, file).disabled).map((file) => judgeKey(config, file)),
    ips: config.ips,
    maxClockSkewNs: BigInt(config.maxClockSkewSeconds) * NS_PER_SECOND,
    // Half: one key's holder, or whoever stole it, leaves room for all others.
    rates: { perPeer: config.maxRequestsPerSecond, perKey: Math.max(1, Math.floor(global / 2)), global },
  };
}

/** Key files that are there but not good at this moment, with the reason. */
export function idleKeyWarnings(config: ServerConfig, keys: readonly KeyFile[], nowMs: number): string[] {
  return keys.filter((file) => !isInForce(grantOf(config, file), nowMs)).map((file) =>
    `key ${file.stem} is ${
      grantOf(config, file).disabled ? "disabled" : "past its not_after"
    }: its packets are refused`
  );
}

function grantOf(config: ServerConfig, file: KeyFile): KeyGrant {
  return config.grants.get(file.stem) ?? OPEN_GRANT;
}

function judgeKey(config: ServerConfig, file: KeyFile): JudgeKey {
  const grant = grantOf(config, file);
  const maxAgeSeconds = grant.maxPacketAgeSeconds ?? config.maxPacketAgeSeconds;
  return {
    stem: file.stem,
    key: file.key,
    allow: grant.allow,
    maxPacketAgeNs: BigInt(maxAgeSeconds) * NS_PER_SECOND,
    notAfterMs: grant.notAfterMs,
  };
}
