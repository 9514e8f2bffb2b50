/** A real server with a recorder where its commander would be. */
import { type LabFiles, type LabOptions, startServer, writeLabFiles } from "../../scripts/lab.ts";
import type { LoggedProcess } from "../../scripts/process.ts";
import { Recorder } from "./recorder.ts";
import { TempFolder } from "./temp_folder.ts";

/** Lines of config.toml that take the rates out of a test's way. */
export const NO_RATES = "max_requests_per_second = 100000\nmax_requests_per_second_global = 200000";

export class ServerLab implements AsyncDisposable {
  readonly files: LabFiles;
  readonly recorder: Recorder;
  server: LoggedProcess;
  port: number;

  private constructor(files: LabFiles, recorder: Recorder, server: LoggedProcess, port: number) {
    this.files = files;
    this.recorder = recorder;
    this.server = server;
    this.port = port;
  }

  /** @param options.prepare runs once the files are there, before the server starts */
  static async start(
    options: Omit<LabOptions, "commands"> & { prepare?: (files: LabFiles) => Promise<void> },
  ): Promise<ServerLab> {
    await using undo = new AsyncDisposableStack();
    const folder = undo.use(await TempFolder.make("e2e"));
    const files = await writeLabFiles(folder.path, { ...options, commands: () => "[commands]\n" });
    await options.prepare?.(files);
    const recorder = undo.use(new Recorder(`${folder.path}/run/ruroco.socket`));
    const { process, port } = await startServer(files);
    undo.move();
    return new ServerLab(files, recorder, process, port);
  }

  async restart(): Promise<void> {
    await this.server.stop("SIGKILL");
    const { process, port } = await startServer(this.files);
    this.server = process;
    this.port = port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
    await this.recorder[Symbol.asyncDispose]();
    await Deno.remove(this.files.folder, { recursive: true });
  }
}
