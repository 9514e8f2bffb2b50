/** A real Chromium without a window, from the Debian package of that name. */

const PATH = "/usr/bin/chromium";
const TIMEOUT_MS = 60_000;

/** For the names of tests: empty where Chromium is installed, else why they are skipped. */
export const CHROMIUM_MISSING = isInstalled() ? "" : ` (skipped: ${PATH} is not installed)`;

function isInstalled(): boolean {
  try {
    return Deno.statSync(PATH).isFile;
  } catch {
    return false;
  }
}

/** One that shows a page until it is disposed of, or for a minute. */
export class Chromium implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #folder: string;
  readonly #watchdog: ReturnType<typeof setTimeout>;

  private constructor(child: Deno.ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
    this.#watchdog = setTimeout(() => this.#kill(), TIMEOUT_MS);
  }

  /** Opens a page, with nothing of any user's. */
  static async open(url: string): Promise<Chromium> {
    const folder = await Deno.makeTempDir({ prefix: "postern-chromium-" });
    const command = new Deno.Command(PATH, {
      args: [
        "--headless",
        // Its own sandbox does not work for root, nor in most containers.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        `--user-data-dir=${folder}`,
        url,
      ],
      env: { HOME: folder },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
    return new Chromium(command.spawn(), folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#watchdog);
    this.#kill();
    await this.#child.status;
    // Its other processes end when it has gone, and may write a last file while the folder is emptied.
    for (let left = 50;; left--) {
      try {
        return await Deno.remove(this.#folder, { recursive: true });
      } catch (error) {
        if (left === 0) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  #kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}
