/**
 * The permission table: which permissions each command needs, scoped by its configuration and its command line, and
 * why. From it come the flags that executables are started with or have baked in, what `postern permissions` prints,
 * and the page docs/permissions.md.
 *
 * It reads nothing but the one configuration file, and the environment's names for the client's folder: whoever asks
 * may be a program that was allowed nothing else yet.
 */
import { Failure } from "../system/failure.ts";
import { withoutCoveredGrants } from "../system/covered_grants.ts";
import { absolutePath } from "../system/path.ts";
import { type PermissionGrant, type PermissionSet, permissionSet } from "../system/permissions.ts";
import type { TransferScope } from "../client/transfer/permissions.ts";
import type { ServerConfig } from "../server/knock/config.ts";
import type { TomlSource } from "../system/toml_file.ts";
import { type Build, CHECKOUT } from "./build.ts";
import type { CommandSpec, Role } from "./command_spec.ts";
import type { OptionValues } from "./parse.ts";
import { auditPermissions } from "./permission_audit.ts";

/** Where `deploy/config.toml` is put. */
const STANDARD_CONFIG_PATH = "/etc/postern/config.toml";

/**
 * Everything one command line needs, what is optional included.
 *
 * @throws {Failure} if the configuration cannot be read or is wrong
 */
export async function permissionsFor(
  command: CommandSpec,
  values: OptionValues,
  build: Pick<Build, "role"> = CHECKOUT,
): Promise<PermissionGrant[]> {
  switch (command.path.join(" ")) {
    case "client send":
    case "client connect": {
      const { knockPermissions } = await import("../client/knock/permissions.ts");
      return knockPermissions({ keyFile: values.text("key-file"), configFolder: await configFolder() });
    }
    case "client gen": {
      const { genPermissions } = await import("../client/knock/permissions.ts");
      return genPermissions(values.text("key-file"));
    }
    case "client reseed": {
      const { reseedPermissions } = await import("../client/knock/permissions.ts");
      return reseedPermissions({ configFolder: await configFolder() });
    }
    case "client share": {
      const { sharePermissions } = await import("../client/transfer/permissions.ts");
      const paths = values.operands.filter((path) => path !== "-");
      return sharePermissions({ ...await transferPlaces(values), paths });
    }
    case "client receive": {
      const { receivePermissions } = await import("../client/transfer/permissions.ts");
      return receivePermissions({
        ...await transferPlaces(values),
        folder: values.requiredText("output-dir"),
      });
    }
    case "client join": {
      const { joinPermissions, manageScope } = await import("../client/manage/permissions.ts");
      return joinPermissions(manageScope(values.text("dir")), values.operands[0] ?? "");
    }
    case "client identity": {
      const { identityPermissions, manageScope } = await import("../client/manage/permissions.ts");
      return identityPermissions(manageScope(values.text("dir")));
    }
    case "client hosts":
    case "client exec": {
      const { managePermissions, manageScope } = await import("../client/manage/permissions.ts");
      return managePermissions(manageScope(values.text("dir")));
    }
    case "client shell": {
      const { manageScope, shellPermissions } = await import("../client/manage/permissions.ts");
      return shellPermissions({ ...manageScope(values.text("dir")), recordPath: values.text("record") });
    }
    case "client forward": {
      const { forwardPermissions, manageScope } = await import("../client/manage/permissions.ts");
      const { forwardListenScopes } = await import("./forward_words.ts");
      return forwardPermissions({ ...manageScope(values.text("dir")), listen: forwardListenScopes(values) });
    }
    case "client replay": {
      const { replayPermissions } = await import("../client/manage/permissions.ts");
      return replayPermissions(values.operands[0] ?? "");
    }
    case "server knock":
      return await serverGrants(await readConfig(values.requiredText("config")), values.text("status"));
    case "server relay": {
      const { relayConfig } = await import("./server_relay.ts");
      const { relayPermissions } = await import("../server/relay/permissions.ts");
      return relayPermissions(relayConfig(values));
    }
    case "server manage": {
      const { manageConfig } = await import("./manage_config.ts");
      const { managePermissions } = await import("../server/manage/permissions.ts");
      return managePermissions(manageConfig(values));
    }
    case "server manage init":
    case "server manage invite":
    case "server manage revoke":
    case "server manage list":
    case "server manage audit":
    case "server manage rotate-ca": {
      const { registryPermissions } = await import("../server/manage/registry_permissions.ts");
      return registryPermissions(values.requiredText("dir"), values.text("head"));
    }
    case "commander agent":
      return await agentGrants(values);
    case "commander agent trust": {
      const { trustPermissions } = await import("../commander/agent/permissions.ts");
      return trustPermissions(absolutePath(values.requiredText("dir")));
    }
    case "commander knock":
      return await commanderGrants(await readConfig(values.requiredText("config")), values.text("commands"));
    case "client setup":
      return await setupGrants(values);
    case "client update":
      return await updateGrants(values);
    case "client doctor": {
      const { clientDoctorPermissions } = await import("../setup/doctor/doctor_permissions.ts");
      const address = values.text("address");
      return clientDoctorPermissions({
        timeFrom: values.requiredText("time-from"),
        offline: values.flag("offline"),
        ...(address === undefined ? {} : { address }),
      });
    }
    case "server doctor": {
      const { serverDoctorPermissions } = await import("../setup/doctor/doctor_permissions.ts");
      const config = await knownServer(values.requiredText("config"));
      return serverDoctorPermissions({
        timeFrom: values.requiredText("time-from"),
        offline: values.flag("offline"),
        ...(config === null ? {} : { config }),
      });
    }
    case "commander doctor": {
      const { commanderDoctorPermissions } = await import("../setup/doctor/doctor_permissions.ts");
      const config = await knownServer(values.requiredText("config"));
      return commanderDoctorPermissions(config === null ? {} : { socketPath: config.socketPath });
    }
    case "permissions":
      return await (await import("./own_permissions.ts")).ownPermissions(values, build);
    case "completions":
    case "man":
      return [];
    default:
      throw new TypeError(`command "${command.path.join(" ")}" is not in the permission table`);
  }
}

/**
 * What the executable of a role has baked in by `deno compile`, for every command it has.
 *
 * @param configPath the layout of this configuration; without, that of `deploy/config.toml`
 * @throws {Failure} if the configuration cannot be read or is wrong
 */
export async function rolePermissions(role: Role, configPath?: string): Promise<PermissionGrant[]> {
  const source = async (): Promise<TomlSource> =>
    configPath === undefined ? await standardConfig() : await readConfig(configPath);
  switch (role) {
    case "client": {
      const { anyClientPermissions } = await import("../client/knock/permissions.ts");
      const { anyManagePermissions } = await import("../client/manage/permissions.ts");
      return withoutCoveredGrants([...anyClientPermissions(), ...anyManagePermissions()]);
    }
    case "server":
      return await serverGrants(await source());
    case "commander":
      return await commanderGrants(await source());
    case "setup":
      return await anySetupPermissions(source);
  }
}

async function serverGrants(source: TomlSource, statusPath?: string): Promise<PermissionGrant[]> {
  const { parseServerConfig } = await import("../server/knock/config.ts");
  const { serverPermissions } = await import("../server/knock/permissions.ts");
  return serverPermissions(parseServerConfig(source), statusPath === undefined ? {} : { statusPath });
}

async function commanderGrants(source: TomlSource, commandsPath?: string): Promise<PermissionGrant[]> {
  const { readCommanderPaths } = await import("../commander/knock/paths.ts");
  const { commanderPermissions } = await import("../commander/knock/permissions.ts");
  return commanderPermissions(readCommanderPaths(source, commandsPath));
}

/** What agent.toml allows is part of it, so it is read. */
async function agentGrants(values: OptionValues): Promise<PermissionGrant[]> {
  const { agentPermissions, configPermissions } = await import("../commander/agent/permissions.ts");
  const folder = absolutePath(values.requiredText("dir"));
  const token = values.text("join");
  if (token !== undefined) return await agentJoinGrants(folder, token);
  const { read = [], sys = [] } = permissionSet(configPermissions(folder));
  requireGranted({ read, sys });
  const { AgentFolder } = await import("../commander/agent/agent_folder.ts");
  const { configGround, readAgentConfig } = await import("../commander/agent/agent_config.ts");
  const agent = new AgentFolder(folder);
  // First, since without it the host has not joined, and that is what has to be said.
  const server = await agent.readServer();
  return agentPermissions(folder, server, await readAgentConfig(agent.configPath, await configGround()));
}

/** Of a token that is read from standard input nobody knows yet where it leads. */
async function agentJoinGrants(folder: string, token: string): Promise<PermissionGrant[]> {
  const { joinPermissions } = await import("../commander/agent/permissions.ts");
  if (token === "-") {
    const why = "connect to the server that the token names";
    const net = { kind: "net", access: "allow", scope: true, from: "the token", why } as const;
    return [net, ...joinPermissions(folder, [])];
  }
  const { parseJoinToken } = await import("../protocol/manage/join_token.ts");
  try {
    return joinPermissions(folder, parseJoinToken(token).addresses);
  } catch {
    // What is wrong with the token is said by whoever uses it.
    return joinPermissions(folder, []);
  }
}

async function setupGrants(values: OptionValues): Promise<PermissionGrant[]> {
  const { setupPermissions } = await import("../setup/setup_permissions.ts");
  const root = absolutePath(values.text("root") ?? "/");
  const config = root === "/" ? await knownServer(STANDARD_CONFIG_PATH) : null;
  return setupPermissions({
    dryRun: values.flag("dry-run"),
    root,
    port: values.number("port"),
    ...(config === null ? {} : { listen: config.address }),
  });
}

/** The server of a configuration that may be missing or wrong: to tell so is a doctor's work, not the table's. */
async function knownServer(configPath: string): Promise<ServerConfig | null> {
  const { parseServerConfig } = await import("../server/knock/config.ts");
  // A pipe in its place would be waited for, for ever.
  const info = await Deno.stat(configPath).catch(() => null);
  if (info !== null && !info.isFile) return null;
  try {
    return parseServerConfig(await readConfig(configPath));
  } catch (error) {
    if (error instanceof Failure) return null;
    throw error;
  }
}

async function updateGrants(values: OptionValues): Promise<PermissionGrant[]> {
  const { updatePermissions } = await import("../setup/update/update_permissions.ts");
  const key = values.text("key");
  return updatePermissions({
    from: values.requiredText("from"),
    root: absolutePath(values.text("root") ?? "/"),
    dryRun: values.flag("dry-run"),
    ...(key === undefined ? {} : { keyPath: absolutePath(key) }),
  });
}

/** Every command of setup at once, for any release and any root folder. */
async function anySetupPermissions(source: () => Promise<TomlSource>): Promise<PermissionGrant[]> {
  const { setupPermissions } = await import("../setup/setup_permissions.ts");
  const { updatePermissions } = await import("../setup/update/update_permissions.ts");
  const doctor = await import("../setup/doctor/doctor_permissions.ts");
  const { parseServerConfig } = await import("../server/knock/config.ts");
  const config = parseServerConfig(await source());
  const anyTime = { timeFrom: "pool.ntp.org", offline: true };
  const wide = (kind: "net" | "read" | "write", from: string, why: string): PermissionGrant => ({
    kind,
    access: "allow",
    scope: true,
    from,
    why,
  });
  return withoutCoveredGrants([
    wide("net", "--from, -a, --time-from", "releases, servers and clocks, wherever they are"),
    wide("read", "always", "what is installed, who owns what, a release in a folder"),
    wide("write", "--root", "the system that is set up, wherever it lies"),
    ...setupPermissions({ dryRun: false, root: "/" }),
    ...updatePermissions({ from: "https://releases.example/", root: "/", dryRun: false }),
    ...doctor.clientDoctorPermissions(anyTime),
    ...doctor.serverDoctorPermissions({ ...anyTime, config }),
    ...doctor.commanderDoctorPermissions(config),
  ]);
}

async function configFolder(): Promise<{ path: string; variable: string } | null> {
  const { namedConfigFolder } = await import("../client/knock/config_folder.ts");
  return namedConfigFolder();
}

async function transferPlaces(values: OptionValues): Promise<TransferScope> {
  const { namedRelay } = await import("../client/transfer/relay_address.ts");
  const { namedStateFolder } = await import("../client/transfer/state_folder.ts");
  return { relay: namedRelay(values.text("relay")), stateFolder: namedStateFolder() };
}

async function readConfig(path: string): Promise<TomlSource> {
  requireGranted({ read: [path] });
  const { readTomlFile } = await import("../system/toml_file.ts");
  return await readTomlFile(absolutePath(path));
}

/**
 * Nothing is tried without its permission, which would prompt on a terminal.
 *
 * @throws {Failure} naming the flags that are missing
 */
function requireGranted(needed: PermissionSet): void {
  const flags = auditPermissions(needed).missing.join(" ");
  if (flags === "") return;
  throw new Failure(`cannot read the configuration: permissions are missing: ${flags}`, {
    hint: `add ${flags} to deno run`,
  });
}

async function standardConfig(): Promise<TomlSource> {
  const { default: text } = await import("../../deploy/config.toml", { with: { type: "text" } });
  const { parseTomlSource } = await import("../system/toml_file.ts");
  return parseTomlSource(STANDARD_CONFIG_PATH, text);
}
