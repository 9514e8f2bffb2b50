/** `postern commander doctor`. */
import { runCommanderDoctor } from "../setup/doctor/commander_doctor.ts";
import { systemMachine } from "../setup/doctor/system_machine.ts";
import { reportFindings } from "./doctor_report.ts";
import type { OptionValues } from "./parse.ts";

/** Looks at the commander of a configuration. */
export async function commanderDoctor(values: OptionValues): Promise<void> {
  const findings = await runCommanderDoctor({
    machine: systemMachine,
    configPath: values.requiredText("config"),
    commandsPath: values.text("commands"),
  });
  reportFindings(findings, values.flag("json"));
}
