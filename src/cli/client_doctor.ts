/** `postern client doctor`. */
import { runClientDoctor } from "../setup/doctor/client_doctor.ts";
import { systemMachine } from "../setup/doctor/system_machine.ts";
import { parseTimeSource } from "../setup/doctor/time_source.ts";
import { reportFindings } from "./doctor_report.ts";
import type { OptionValues } from "./parse.ts";

/** Looks at this machine and the way to a server. */
export async function clientDoctor(values: OptionValues): Promise<void> {
  const timeFrom = values.requiredText("time-from");
  parseTimeSource(timeFrom);
  const findings = await runClientDoctor({
    machine: systemMachine,
    address: values.text("address"),
    keyPath: values.text("key-file"),
    timeFrom,
    offline: values.flag("offline"),
  });
  reportFindings(findings, values.flag("json"));
}
