/** `postern client update`. */
import type { DownloadProgress } from "../setup/update/download.ts";
import { parseReleaseLocation } from "../setup/update/release_location.ts";
import { parseReleaseKey } from "../setup/update/release_signature.ts";
import { isReleaseVersion, VERSION_FORMS } from "../setup/update/release_version.ts";
import { update, type UpdateReport } from "../setup/update/update.ts";
import { installedPath, type UpdateLayout, updateLayout } from "../setup/update/update_layout.ts";
import { EXECUTABLE_DIR, SETUP_STATE_DIR } from "../setup/layout.ts";
import { systemMachine as setupMachine } from "../setup/machine.ts";
import { requireInsideRoot } from "../setup/places.ts";
import { updatePermissions } from "../setup/update/update_permissions.ts";
import { systemMachine } from "../setup/update/update_machine.ts";
import { INSTALLED_ROLES } from "../setup/role.ts";
import { Failure, UsageFailure } from "../system/failure.ts";
import { absolutePath } from "../system/path.ts";
import { permissionSet } from "../system/permissions.ts";
import { quoteVisibly } from "../system/visible_text.ts";
import { EndingSignals } from "./ending_signals.ts";
import type { OptionValues } from "./parse.ts";
import { type Invocation, requirePermissions } from "./permission_audit.ts";
import { printJson, printNotice, printPrompt, printResult } from "./terminal.ts";

/** Replaces the installed executables by those of a signed release. */
export async function clientUpdate(values: OptionValues, invocation: Invocation): Promise<void> {
  const from = parseReleaseLocation(values.requiredText("from"));
  const version = values.text("version");
  if (version !== undefined && !isReleaseVersion(version)) {
    throw new UsageFailure(
      `cannot use option --version: found ${quoteVisibly(version)}, accepted is ${VERSION_FORMS}`,
    );
  }
  if (Deno.build.os === "windows") {
    throw new Failure(
      "could not update: found Windows, which does not let a running executable be replaced",
      {
        hint:
          "fetch the release by hand, compare it with SHA256SUMS, and put it in the place of the old file",
      },
    );
  }
  const root = absolutePath(values.text("root") ?? "/");
  const keyPath = values.text("key");
  const needed = updatePermissions({
    from: values.requiredText("from"),
    root,
    dryRun: values.flag("dry-run"),
    ...(keyPath === undefined ? {} : { keyPath: absolutePath(keyPath) }),
  });
  requirePermissions(permissionSet(needed), invocation, "could not update");
  const layout = updateLayout(root);
  await requireInsideRoot(setupMachine, root, [EXECUTABLE_DIR, SETUP_STATE_DIR]);
  const publicKey = await readPublicKey(keyPath, invocation.build.releaseKey);
  const { default: { version: ownVersion } } = await import("../../deno.json", { with: { type: "json" } });
  const isJson = values.flag("json");
  const machine = await systemMachine(layout, {
    version: ownVersion,
    progress: Deno.stderr.isTerminal() && !isJson ? showProgress() : () => {},
  });
  using signals = new EndingSignals("could not go on");
  const report = await update(
    {
      signal: signals.signal,
      from,
      version,
      role: INSTALLED_ROLES.find((role) => role === values.text("role")),
      publicKey,
      force: values.flag("force"),
      skipProof: values.flag("skip-proof"),
      dryRun: values.flag("dry-run"),
    },
    layout,
    machine,
  );
  if (isJson) printJson(jsonReport(report, layout));
  else printReport(report, layout);
}

async function readPublicKey(
  path: string | undefined,
  builtIn: string | null,
): Promise<Uint8Array<ArrayBuffer>> {
  if (path === undefined) {
    if (builtIn !== null) return parseReleaseKey(builtIn, "the built-in key of releases");
    throw new Failure(
      "could not update: this program has no key of releases built in, and --key was not given",
      {
        hint: "get the publisher's public key over a channel you trust, and name its file with --key FILE",
      },
    );
  }
  try {
    const { isFile, mode } = await Deno.stat(path);
    if (!isFile) throw new Failure(`could not read key file ${path}: it is no regular file`);
    // It decides whose executables root runs.
    if (((mode ?? 0) & WRITABLE_BY_ALL) !== 0) {
      throw new Failure(
        `could not trust key file ${path}: everybody may write it, accepted is what nobody else may`,
        {
          hint: `compare it with the publisher's, then: chmod o-w ${path}`,
        },
      );
    }
    return parseReleaseKey(await Deno.readTextFile(path), `key file ${path}`);
  } catch (error) {
    throw error instanceof Failure ? error : new Failure(`could not read key file ${path}`, { cause: error });
  }
}

const MIB = 1024 * 1024;
const WRITABLE_BY_ALL = 0o002;

/** One line that is overwritten while a file comes in. */
function showProgress(): (progress: DownloadProgress) => void {
  let shown = -1;
  return ({ name, doneBytes, sizeBytes }) => {
    const percent = Math.floor(100 * doneBytes / sizeBytes);
    if (percent === shown) return;
    shown = percent;
    printPrompt(`\r${name}: ${percent} % of ${inMib(sizeBytes)}${doneBytes === sizeBytes ? "\n" : ""}`);
  };
}

function inMib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

/** The result as `--json` prints it. A failure instead has `error`, which says in which state things are. */
function jsonReport(report: UpdateReport, layout: UpdateLayout): unknown {
  return {
    version: report.version,
    from: report.from,
    dry_run: report.dryRun,
    replaced: report.replaced.map(({ role, file, oldVersion }) => ({
      role,
      path: installedPath(layout, role),
      old_version: oldVersion,
      size_bytes: file.size,
      sha256: file.sha256,
    })),
    unchanged: report.unchanged,
    restarted: report.restarted,
    proven_before_swap: report.provenBefore,
    proven_after_swap: report.provenAfter,
    taken_back: report.recovered === null ? null : {
      version: report.recovered.version,
      roles: report.recovered.roles,
      restarted: report.recovered.restarted,
      problem: report.recovered.restartProblem,
    },
    not_done: report.notDone,
  };
}

function printReport(report: UpdateReport, layout: UpdateLayout): void {
  const { version, recovered } = report;
  if (recovered !== null) {
    printNotice(`warning: the update to ${recovered.version}, broken off earlier, was taken back first`);
    if (recovered.restartProblem !== null) printNotice(`warning: ${recovered.restartProblem}`);
  }
  const lines = report.replaced.map(({ role, file, oldSha256, oldVersion }) => {
    const old = oldSha256 === null ? "not installed" : oldVersion ?? "unknown version";
    const what = `${installedPath(layout, role)}: ${old} -> ${version} (${inMib(file.size)})`;
    return report.dryRun ? `would replace ${what}` : `replaced ${what}`;
  });
  if (report.unchanged.length > 0) {
    lines.push(`${version} is installed already: ${report.unchanged.join(", ")}`);
  }
  if (report.restarted.length > 0) lines.push(`restarted ${report.restarted.join(", ")}`);
  if (report.provenBefore) lines.push("proved by a knock on the new executables, before the swap");
  if (report.provenAfter) lines.push("proved by a knock on the services, after it");
  for (const each of report.notDone) lines.push(`not done: ${each}`);
  printResult(lines.map((line) => `${line}\n`).join(""));
}
