/** A stand-in server and the folder of an administrator who has joined it. */
import type { ManageFolder } from "../../../src/client/manage/manage_folder.ts";
import { type OpenSession, openSession, type SessionWish } from "../../../src/client/manage/open_session.ts";
import { connectServer, type ServerLink } from "../../../src/client/manage/server_link.ts";
import { systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { StandInServer } from "./stand_in_server.ts";
import { temporaryFolder } from "./temporary_manage_folder.ts";

/** Ends all of it when it is disposed of. */
export interface ManageStage extends AsyncDisposable {
  readonly folder: ManageFolder;
  readonly server: StandInServer;
  /** What was said. */
  readonly notices: string[];
  readonly onNotice: (line: string) => void;
  /** Makes a link; it is closed in the end. */
  connect(): Promise<ServerLink>;
  /** Opens a session, over a link of its own unless one is given; its peer is closed in the end. */
  open(wish: Partial<SessionWish> & { readonly host: string }, link?: ServerLink): Promise<OpenSession>;
}

/** Sets it up. */
export async function manageStage(): Promise<ManageStage> {
  const temporary = await temporaryFolder(), { folder } = temporary;
  const server = await StandInServer.start();
  await server.joined(folder);
  const notices: string[] = [], links: ServerLink[] = [], sessions: OpenSession[] = [];
  const onNotice = (line: string): void => void notices.push(line);
  const connect = async (): Promise<ServerLink> => {
    const link = await connectServer({ folder, timers: systemTimers, onNotice });
    links.push(link);
    return link;
  };
  return {
    folder,
    server,
    notices,
    onNotice,
    connect,
    async open(wish, link): Promise<OpenSession> {
      const session = await openSession(link ?? await connect(), { action: "exec", onNotice, ...wish });
      sessions.push(session);
      return session;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      for (const { peer } of sessions) {
        peer.close();
        await peer.closed;
      }
      for (const link of links) {
        link.close();
        await link.closed;
        await link.control.closed;
        await link.heads.kept;
      }
      await server[Symbol.asyncDispose]();
      await temporary[Symbol.asyncDispose]();
    },
  };
}
