/** `postern server doctor`. */
import { runServerDoctor } from "../setup/doctor/server_doctor.ts";
import { systemMachine } from "../setup/doctor/system_machine.ts";
import { parseTimeSource } from "../setup/doctor/time_source.ts";
import { proveKnock } from "../setup/proof.ts";
import { reportFindings } from "./doctor_report.ts";
import type { OptionValues } from "./parse.ts";

const PROOF_TIMEOUT_MS = 5000;

/** Looks at the server of a configuration. */
export async function serverDoctor(values: OptionValues): Promise<void> {
  const timeFrom = values.requiredText("time-from");
  parseTimeSource(timeFrom);
  const findings = await runServerDoctor({
    machine: systemMachine,
    configPath: values.requiredText("config"),
    statusPath: values.text("status"),
    timeFrom,
    offline: values.flag("offline"),
    prove: (options) => proveKnock({ ...options, timeoutMs: PROOF_TIMEOUT_MS }),
  });
  reportFindings(findings, values.flag("json"));
}
