/**
 * The code of every command, by role.
 *
 * By literal `import()`s: literal, because after the permissions are dropped nothing else can be imported; lazy, so
 * that `client send` pays for nothing but itself. One table a role, so that a role's executable holds no other's code.
 */
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";

/** Carries out one command. */
export type Handler = (values: OptionValues, invocation: Invocation) => Promise<void>;
/** By the words of the command, joined by one space. */
export type Handlers = Readonly<Record<string, Handler>>;

export const CLIENT_HANDLERS: Handlers = {
  "client send": async (values) => (await import("./client_send.ts")).clientSend(values),
  "client gen": async (values) => (await import("./client_gen.ts")).clientGen(values),
  "client connect": async (values) => (await import("./client_connect.ts")).clientConnect(values),
  "client reseed": async (values) => (await import("./client_reseed.ts")).clientReseed(values),
  "client share": async (values, invocation) =>
    (await import("./client_share.ts")).clientShare(values, invocation),
  "client receive": async (values, invocation) =>
    (await import("./client_receive.ts")).clientReceive(values, invocation),
  "client join": async (values, invocation) =>
    (await import("./client_join.ts")).clientJoin(values, invocation),
  "client identity": async (values, invocation) =>
    (await import("./client_identity.ts")).clientIdentity(values, invocation),
  "client hosts": async (values, invocation) =>
    (await import("./client_hosts.ts")).clientHosts(values, invocation),
  "client shell": async (values, invocation) =>
    (await import("./client_shell.ts")).clientShell(values, invocation),
  "client exec": async (values, invocation) =>
    (await import("./client_exec.ts")).clientExec(values, invocation),
  "client forward": async (values, invocation) =>
    (await import("./client_forward.ts")).clientForward(values, invocation),
  "client replay": async (values, invocation) =>
    (await import("./client_replay.ts")).clientReplay(values, invocation),
};

export const SERVER_HANDLERS: Handlers = {
  "server knock": async (values, invocation) =>
    (await import("./server_knock.ts")).serverKnock(values, invocation),
  "server relay": async (values, invocation) =>
    (await import("./server_relay.ts")).serverRelay(values, invocation),
  "server manage": async (values, invocation) =>
    (await import("./server_manage.ts")).serverManage(values, invocation),
  "server manage init": async (values, invocation) =>
    (await import("./server_manage_init.ts")).serverManageInit(values, invocation),
  "server manage invite": async (values, invocation) =>
    (await import("./server_manage_invite.ts")).serverManageInvite(values, invocation),
  "server manage revoke": async (values, invocation) =>
    (await import("./server_manage_revoke.ts")).serverManageRevoke(values, invocation),
  "server manage list": async (values, invocation) =>
    (await import("./server_manage_list.ts")).serverManageList(values, invocation),
  "server manage audit": async (values, invocation) =>
    (await import("./server_manage_audit.ts")).serverManageAudit(values, invocation),
  "server manage rotate-ca": async (values, invocation) =>
    (await import("./server_manage_rotate_ca.ts")).serverManageRotateCa(values, invocation),
};

export const COMMANDER_HANDLERS: Handlers = {
  "commander knock": async (values, invocation) =>
    (await import("./commander_knock.ts")).commanderKnock(values, invocation),
  "commander agent": async (values, invocation) =>
    (await import("./commander_agent.ts")).commanderAgent(values, invocation),
  "commander agent trust": async (values, invocation) =>
    (await import("./commander_agent_trust.ts")).commanderAgentTrust(values, invocation),
};

export const SETUP_HANDLERS: Handlers = {
  "client setup": async (values, invocation) =>
    (await import("./client_setup.ts")).clientSetup(values, invocation),
  "client update": async (values, invocation) =>
    (await import("./client_update.ts")).clientUpdate(values, invocation),
  "client doctor": async (values) => (await import("./client_doctor.ts")).clientDoctor(values),
  "server doctor": async (values) => (await import("./server_doctor.ts")).serverDoctor(values),
  "commander doctor": async (values) => (await import("./commander_doctor.ts")).commanderDoctor(values),
};

/** What every executable has. */
export const COMMON_HANDLERS: Handlers = {
  "permissions": async (values, invocation) =>
    (await import("./permissions_command.ts")).permissionsCommand(values, invocation),
  "completions": async (values, invocation) =>
    (await import("./completions_command.ts")).completionsCommand(values, invocation),
  "man": async (values, invocation) => (await import("./man_command.ts")).manCommand(values, invocation),
};
