/** What an operator does next, after a setup. */
import { formatHostPort } from "../client/knock/destination.ts";
import type { IpAddress } from "../protocol/knock/address.ts";
import { shellWord } from "./shell_word.ts";
import { printResult } from "./terminal.ts";

/** A step that writes many files, such as the manual pages, is one line all the same; `--dry-run` names each. */
const MAX_ACTS = 4;

/** What was done in one step. */
export function stepLine(name: string, acts: readonly string[]): string {
  const rest = acts.length - MAX_ACTS;
  const shown = rest > 1 ? [...acts.slice(0, MAX_ACTS), `and ${rest} more`] : acts;
  return `${name}: ${shown.join("; ")}`;
}

export interface ClientWords {
  /** The first of `ips`. */
  readonly ip: string;
  readonly port: number;
  readonly keyPath: string;
  readonly keyName: string;
}

/** How to open the port, move the key and knock. */
export function printClientWords({ ip, port, keyPath, keyName }: ClientWords): void {
  const host = ip.includes(":") ? `[${ip}]` : ip;
  const keyFile = `${keyName}.key`;
  printResult(
    [
      "",
      `1. Let UDP port ${port} in through every firewall on the way; nothing was opened here, and nothing ever answers.`,
      "2. On your machine, fetch the key over ssh; whoever has it can knock:",
      `     scp ${shellWord(`root@${host}:${keyPath}`)} . && chmod 600 ${shellWord(keyFile)}`,
      "3. Knock, and look at the journal here (journalctl -u postern-commander -n 1):",
      `     postern client send -a ${formatHostPort(ip as IpAddress, port)} -K ${
        shellWord(keyFile)
      } -c postern_check`,
      "4. Say in /etc/postern/commands.toml what a knock shall run, then: systemctl restart postern-commander",
      "",
    ].join("\n"),
  );
}

/** Modules on each side that stay light. The standard asks for 4; readers make do with 2, and a terminal has few lines. */
const QUIET_MODULES = 2;
/** White on black, so that a lit part of a block is a light module: most readers take no code that is inverted. */
const COLOURS_ON = "\x1b[97;40m";
const COLOURS_OFF = "\x1b[0m";

/** A QR code of two module rows a line, dark on light whatever the terminal's colours, with its quiet zone. */
export async function qrCode(text: string): Promise<string> {
  const { encode } = await import("uqr");
  const { data, size } = encode(text, { border: QUIET_MODULES });
  const lines: string[] = [];
  for (let row = 0; row < size; row += 2) {
    let blocks = "";
    for (let column = 0; column < size; column++) {
      // Below an odd last row there is nothing, which must be light as well.
      const isUpperDark = data[row]?.[column] ?? false;
      const isLowerDark = data[row + 1]?.[column] ?? false;
      blocks += isUpperDark ? (isLowerDark ? " " : "▄") : (isLowerDark ? "▀" : "█");
    }
    lines.push(`${COLOURS_ON}${blocks}${COLOURS_OFF}\n`);
  }
  return lines.join("");
}
