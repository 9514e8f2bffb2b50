/** `postern commander doctor`: why an accepted knock runs nothing. */
import { unknownKeyWarnings } from "../../system/config_keys.ts";
import { Failure } from "../../system/failure.ts";
import { absolutePath } from "../../system/path.ts";
import { parseTomlBytes } from "../../system/toml_file.ts";
import { commanderFileChecks } from "./commander_files.ts";
import { commanderLeaseChecks } from "./commander_leases.ts";
import { type CommanderSubject, examineCommander } from "./commander_subject.ts";
import { type Finding, notChecked, ok, type Outcome, problem, runChecks, warning } from "./finding.ts";
import type { Machine } from "./machine.ts";
import { missingConfig } from "./server_doctor.ts";
import { unitOutcomes } from "./unit_state.ts";

export interface CommanderDoctorOptions {
  readonly machine: Machine;
  readonly configPath: string;
  /** As typed with `--commands`; undefined: beside the configuration. */
  readonly commandsPath: string | undefined;
}

const CONFIG_BYTES = 4 * 1024 * 1024;

export async function runCommanderDoctor(options: CommanderDoctorOptions): Promise<Finding[]> {
  const { machine, commandsPath } = options;
  const path = absolutePath(options.configPath);
  let subject: CommanderSubject | undefined;
  const findings = await runChecks([{
    name: "configuration",
    run: async () => {
      const bytes = await machine.read(path, CONFIG_BYTES);
      if (bytes === null) return [missingConfig(path)];
      try {
        const source = parseTomlBytes(path, bytes);
        subject = await examineCommander(
          machine,
          source,
          commandsPath === undefined ? undefined : absolutePath(commandsPath),
        );
        return [
          ok(`${path} can be used`),
          ...unknownKeyWarnings(source).map((text) => warning(text, `edit ${path}`)),
        ];
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        return [problem(error.message, error.hint ?? `edit ${path}, then: postern commander --check`)];
      }
    },
  }]);
  if (subject === undefined) {
    const rest = (): Outcome[] => [notChecked("it depends on the configuration")];
    return [...findings, ...await runChecks([{ name: "everything else", run: rest }])];
  }
  const { unit } = subject;
  return [
    ...findings,
    ...await runChecks([
      { name: "service", run: () => unitOutcomes(unit, "commander") },
      ...commanderFileChecks(subject),
      ...commanderLeaseChecks(subject),
    ]),
  ];
}
