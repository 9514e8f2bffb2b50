/** `postern client setup`. */
import type { ExtraFile } from "../setup/installed_files.ts";
import { CONFIG_PATH, MAN_DIR, SHARE_DIR, withRoot } from "../setup/layout.ts";
import { systemMachine } from "../setup/machine.ts";
import { planSetup, runSetup, SetupFailure, type SetupReport } from "../setup/setup.ts";
import { existingListenAddress, setupPermissions } from "../setup/setup_permissions.ts";
import { uninstall, type UninstallReport } from "../setup/uninstall.ts";
import type { SetupOptions } from "../setup/preflight.ts";
import { Failure, UsageFailure } from "../system/failure.ts";
import { absolutePath } from "../system/path.ts";
import { permissionSet } from "../system/permissions.ts";
import { EndingSignals } from "./ending_signals.ts";
import type { OptionValues } from "./parse.ts";
import { type Invocation, requirePermissions } from "./permission_audit.ts";
import { printClientWords, qrCode, stepLine } from "./setup_words.ts";
import { printJson, printNewKey, printNotice, printResult } from "./terminal.ts";

/** Makes this machine a server, or takes that back. */
export async function clientSetup(values: OptionValues, invocation: Invocation): Promise<void> {
  if (Deno.build.os !== "linux") {
    throw new Failure(`cannot set up a server: found ${Deno.build.os}, accepted is Linux with systemd`, {
      hint: "docs/deploy.md says how to run it by hand",
    });
  }
  const root = absolutePath(values.text("root") ?? "/");
  const dryRun = values.flag("dry-run");
  requireMatching(values);
  const listen = await existingListenAddress(withRoot(root, CONFIG_PATH));
  const needed = setupPermissions({
    dryRun,
    root,
    port: values.number("port"),
    ...(listen === undefined ? {} : { listen }),
  });
  requirePermissions(permissionSet(needed), invocation, "cannot set up a server");
  if (values.flag("uninstall")) {
    const report = await uninstall(systemMachine, { root, purge: values.flag("purge"), dryRun });
    return printUninstalled(report, values);
  }
  const program = invocation.build.executablePath;
  const options: SetupOptions = {
    root,
    ips: values.text("ips"),
    port: values.number("port"),
    keyName: values.requiredText("key-name"),
    from: values.text("from"),
    program: {
      selfExtractingPath: program === null ? null : absolutePath(program),
      isCompiled: invocation.build.role !== null && invocation.build.executablePath === null,
      execPath: Deno.execPath(),
    },
  };
  const extras = await extraFiles();
  if (dryRun) return printPlan(await planSetup(systemMachine, options, extras), values);
  await printDone(await runToItsEnd(options, extras, values.flag("json")), values);
}

async function runToItsEnd(
  options: SetupOptions,
  extras: readonly ExtraFile[],
  isJson: boolean,
): Promise<SetupReport> {
  using signals = new EndingSignals("could not go on");
  try {
    return await runSetup(systemMachine, options, extras, ({ name, acts }) => {
      if (!isJson) printIfHeard(stepLine(name, acts));
    }, signals.signal);
  } catch (error) {
    if (error instanceof SetupFailure) printLists(error);
    throw error;
  }
}

/** A terminal that has gone, as with the ssh session it belonged to, is no reason for a setup to fail. */
function printIfHeard(line: string): void {
  try {
    printNotice(line);
  } catch {
    // Nobody is left to tell.
  }
}

function requireMatching(values: OptionValues): void {
  if (values.flag("purge") && !values.flag("uninstall")) {
    throw new UsageFailure("cannot use option --purge: found no --uninstall, accepted: both", {
      hint: "postern client setup --uninstall --purge",
    });
  }
}

/** Manual pages and completions, which are made from the command table. */
async function extraFiles(): Promise<ExtraFile[]> {
  const { manPages } = await import("./man_page.ts");
  const { completionScripts } = await import("./completions.ts");
  return [
    ...[...manPages()].map(([name, text]) => ({ path: `${MAN_DIR}/${name}`, text })),
    ...[...completionScripts()].map(([name, text]) => ({ path: `${SHARE_DIR}/${name}`, text })),
  ];
}

function printPlan(report: SetupReport, values: OptionValues): void {
  const { steps, kept, findings } = report;
  const proves = values.text("root") === undefined;
  if (values.flag("json")) return printJson({ dry_run: true, ...jsonReport(report) });
  for (const address of findings.addresses ?? []) {
    printResult(`address ${address.ip}${address.device === null ? "" : ` (${address.device})`}\n`);
  }
  for (const { name, why, acts } of steps) {
    printResult(`${name}: ${why}\n${acts.map((act) => `  ${act}\n`).join("")}`);
  }
  if (steps.length === 0) printResult("nothing to do: everything is there\n");
  if (proves) printResult("proof: a real knock over loopback runs postern_check\n");
  printNotes(findings.notes, kept);
  printResult("nothing was changed\n");
}

function printNotes(notes: readonly string[], kept: readonly string[]): void {
  for (const note of notes) printNotice(`note: ${note}`);
  for (const each of kept) printNotice(`kept: ${each}`);
}

/** The result as `--json` prints it; the key itself is in no line that a log may keep. */
function jsonReport({ steps, kept, findings, keyPath, proven }: SetupReport): Record<string, unknown> {
  return {
    steps,
    kept,
    notes: findings.notes,
    ips: [...findings.config?.ips ?? findings.addresses?.map(({ ip }) => ip) ?? []],
    port: findings.port,
    config: CONFIG_PATH,
    key_file: keyPath,
    proven,
  };
}

async function printDone(report: SetupReport, values: OptionValues): Promise<void> {
  if (values.flag("json")) return printJson({ dry_run: false, ...jsonReport(report) });
  const { findings, steps, keyPath } = report;
  printNotes(findings.notes, report.kept);
  if (steps.length === 0) printResult("nothing to do: everything is there\n");
  if (report.proven) printResult("proven: a real knock ran postern_check\n");
  const [ip = ""] = [...findings.config?.ips ?? findings.addresses?.map((each) => each.ip) ?? []];
  printClientWords({ ip, port: findings.port, keyPath, keyName: values.requiredText("key-name") });
  // A terminal's eyes only: a log or a pipe that keeps the key would be one more place to steal it from.
  const isNewKey = steps.some(({ name }) => name === "keys");
  if (!isNewKey || !Deno.stdout.isTerminal()) return;
  const key = await Deno.readTextFile(keyPath);
  printNewKey(`\nthe key, for a device without scp:\n\n  ${key}\n\n`);
  if (!values.flag("no-qr")) printNewKey(await qrCode(key));
}

function printLists({ done, undone, stuck }: SetupFailure): void {
  for (const line of done) printIfHeard(`was done: ${line}`);
  for (const line of undone) printIfHeard(`taken back: ${line}`);
  for (const line of stuck) printIfHeard(`not taken back: ${line}`);
}

function printUninstalled({ removed, kept }: UninstallReport, values: OptionValues): void {
  const dryRun = values.flag("dry-run");
  if (values.flag("json")) return printJson({ dry_run: dryRun, removed, kept });
  if (removed.length === 0 && kept.length === 0) printResult("nothing to remove: setup made nothing here\n");
  for (const line of removed) printResult(`${line}\n`);
  for (const line of kept) printResult(`kept ${line}\n`);
  if (values.text("root") === undefined && removed.some((line) => line.includes("sysctl.d"))) {
    printNotice("note: net.core.rmem_default stays as it is until the next boot");
  }
  if (dryRun) printResult("nothing was changed\n");
}
