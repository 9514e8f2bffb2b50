/** `postern server doctor`: why the server refuses a knock, or never sees it. */
import { parseServerConfig, type ServerConfig } from "../../server/knock/config.ts";
import { Failure } from "../../system/failure.ts";
import { absolutePath, joinPath } from "../../system/path.ts";
import { parseTomlBytes } from "../../system/toml_file.ts";
import { CHECK_KEY_NAME } from "../layout.ts";
import { clockCheck, type ClockLimits } from "./clock_check.ts";
import { checkSocket } from "./commander_socket.ts";
import {
  type Check,
  type Finding,
  notChecked,
  ok,
  type Outcome,
  problem,
  runChecks,
  warning,
} from "./finding.ts";
import type { Machine } from "./machine.ts";
import { serverKeyChecks } from "./server_keys.ts";
import { serverNetworkChecks } from "./server_network.ts";
import { serverStateChecks } from "./server_state.ts";
import { serverStatusChecks } from "./server_status.ts";
import { examineServer, type ServerSubject } from "./server_subject.ts";
import { unitOutcomes } from "./unit_state.ts";

export interface ServerDoctorOptions {
  readonly machine: Machine;
  readonly configPath: string;
  /** Overrides the configuration's `status_file`. */
  readonly statusPath: string | undefined;
  readonly timeFrom: string;
  readonly offline: boolean;
  /** Sends a real knock with the key at this path; throws a `Failure` that says how far it came. */
  readonly prove: (options: { readonly configPath: string; readonly keyPath: string }) => Promise<void>;
}

const CONFIG_BYTES = 4 * 1024 * 1024;

export async function runServerDoctor(options: ServerDoctorOptions): Promise<Finding[]> {
  const { machine, statusPath } = options;
  const configPath = absolutePath(options.configPath);
  let config: ServerConfig | undefined;
  const findings = await runChecks([{
    name: "configuration",
    run: async () => {
      const found = await loadConfig(machine, configPath);
      if ("state" in found) return [found];
      config = found;
      return [
        ok(`${configPath} can be used`),
        // An empty ips is told by the check that is about them.
        ...found.warnings.filter((text) => !text.includes("ips is empty")).map((text) =>
          warning(text, `edit ${configPath}`)
        ),
      ];
    },
  }]);
  if (config === undefined) {
    return [
      ...findings,
      ...await runChecks([{
        name: "everything else",
        run: () => [notChecked("it depends on the configuration")],
      }]),
    ];
  }
  const subject = await examineServer(
    machine,
    config,
    statusPath === undefined ? undefined : absolutePath(statusPath),
  );
  const checks: Check[] = [
    { name: "service", run: () => unitOutcomes(subject.unit, "server") },
    ...serverNetworkChecks(subject),
    ...serverKeyChecks(subject),
    ...serverStateChecks(subject),
    {
      name: "commander socket",
      run: () => checkSocket({ ...subject, socketPath: subject.config.socketPath }),
    },
    ...serverStatusChecks(subject),
    clockCheck({ ...options, limits: clockLimits(config) }),
    { name: "proof", run: () => checkProof(subject, options.prove) },
  ];
  return [...findings, ...await runChecks(checks)];
}

/** The configuration, or what is wrong with it. */
async function loadConfig(machine: Machine, path: string): Promise<ServerConfig | Outcome> {
  const bytes = await machine.read(path, CONFIG_BYTES);
  if (bytes === null) return missingConfig(path);
  try {
    return parseServerConfig(parseTomlBytes(path, bytes));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return problem(error.message, error.hint ?? `edit ${path}, then: postern server --check`);
  }
}

export function missingConfig(path: string): Outcome {
  return problem(`there is no ${path}`, "postern client setup (or name the file with --config)");
}

/** Both sides of the clock hurt: behind it takes good packets for future ones, ahead for old ones. */
function clockLimits(config: ServerConfig): ClockLimits {
  const ages = [
    config.maxPacketAgeSeconds,
    ...[...config.grants.values()].map((each) => each.maxPacketAgeSeconds ?? 0),
  ];
  const limits = ages.filter((age) => age > 0);
  return {
    behindSeconds: config.maxClockSkewSeconds,
    behindMeans: "the knocks of clients whose clock is right are refused (beyond_skew)",
    aheadSeconds: limits.length > 0 ? Math.min(...limits) : config.maxClockSkewSeconds,
    aheadMeans: limits.length > 0
      ? "the knocks of clients whose clock is right are refused (too_old)"
      : "a new key gets a floor that refuses every knock until then (replayed)",
  };
}

async function checkProof(subject: ServerSubject, prove: ServerDoctorOptions["prove"]): Promise<Outcome[]> {
  const { machine, config, isRunning } = subject;
  const keyPath = joinPath(config.configDir, `${CHECK_KEY_NAME}.key`);
  if (await machine.stat(keyPath) === null) {
    return [notChecked(`there is no ${keyPath} to knock with`, "postern client setup makes it")];
  }
  if (isRunning === false) return [notChecked("the server does not run")];
  if (!config.grants.has(CHECK_KEY_NAME)) {
    return [
      notChecked(
        `${keyPath} is not limited to the command for it`,
        `[keys.${CHECK_KEY_NAME}] allow = ["postern_check"]`,
      ),
    ];
  }
  try {
    await prove({ configPath: config.configPath, keyPath });
    return [ok("a real knock went through server and commander")];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [problem(error.message, error.hint ?? "see what is told above")];
  }
}
