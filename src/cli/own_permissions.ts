/** What `postern permissions` needs itself, and with it the first start of a self-extracting executable. */
import type { PermissionGrant } from "../system/permissions.ts";
import { withoutCoveredGrants } from "../system/covered_grants.ts";
import { absolutePath } from "../system/path.ts";
import type { Build } from "./build.ts";
import type { CommandSpec, Role } from "./command_spec.ts";
import { type OptionValues, parse } from "./parse.ts";

/** Where the agent's folder is if no `--dir` names it. */
const STANDARD_AGENT_FOLDER = "/var/lib/postern-agent";

/**
 * Of `postern permissions` itself: what decides the permissions that it is asked about is read. That is the
 * configuration, for an agent its folder, for an administrator's sessions the folder that says where the server is.
 *
 * @throws {UsageFailure} if the command line that it is asked about is wrong
 */
export async function ownPermissions(
  values: OptionValues,
  build: Pick<Build, "role">,
): Promise<PermissionGrant[]> {
  const { variablePermissions } = await import("../client/knock/permissions.ts");
  const { transferVariablePermissions } = await import("../client/transfer/permissions.ts");
  return withoutCoveredGrants([
    ...await readFirst(values, build),
    ...variablePermissions(),
    ...transferVariablePermissions(),
  ]);
}

/** Of the command line behind a "--", if there is one; else of every command that is listed. */
async function readFirst(values: OptionValues, build: Pick<Build, "role">): Promise<PermissionGrant[]> {
  const request = values.rest === undefined ? null : await parse(values.rest, build);
  if (request?.kind === "command") return await decidesPermissionsOf(request.command, request.values, values);
  const lists = (role: Role): boolean =>
    (build.role ?? role) === role && [undefined, role].includes(values.operands[0] as Role | undefined);
  return [
    configFile(values.requiredText("config")),
    ...lists("client") ? await sessionFolder(undefined) : [],
    ...lists("commander") ? await agentFolder(STANDARD_AGENT_FOLDER) : [],
  ];
}

async function decidesPermissionsOf(
  { path }: CommandSpec,
  values: OptionValues,
  own: OptionValues,
): Promise<PermissionGrant[]> {
  switch (path.join(" ")) {
    case "commander agent":
      return await agentFolder(values.requiredText("dir"));
    case "client hosts":
    case "client exec":
    case "client shell":
    case "client forward":
      return await sessionFolder(values.text("dir"));
    default:
      return [configFile(values.text("config") ?? own.requiredText("config"))];
  }
}

function configFile(path: string): PermissionGrant {
  return { kind: "read", access: "allow", scope: path, from: "--config", why: "the configuration" };
}

async function agentFolder(dir: string): Promise<PermissionGrant[]> {
  const { configPermissions } = await import("../commander/agent/permissions.ts");
  return configPermissions(absolutePath(dir));
}

async function sessionFolder(dir: string | undefined): Promise<PermissionGrant[]> {
  const { identityPermissions, manageScope } = await import("../client/manage/permissions.ts");
  return identityPermissions(manageScope(dir));
}
