/** What the tests of a share's state have in common. */
import { FileList } from "../../../src/client/transfer/file_source_list.ts";
import type { ShareKey } from "../../../src/client/transfer/share_state_place.ts";

/** A code that no generator gives. */
export const CODE = "4711-abandon-zoo-zebra";
/** What is shared, with two receivers. */
export const KEY: ShareKey = { what: ["/invented/file"], relay: "relay.example:8080", receivers: 2 };
export const FINGERPRINT = new Uint8Array(32).fill(1);
/** Resume secrets of two receivers. */
export const SECRETS = [new Uint8Array(32).fill(0xa1), new Uint8Array(32).fill(0xb2)] as const;

/** A list of one file of 3 MiB that is nowhere. */
export function oneFile(): FileList {
  const files = new FileList();
  const sizeBytes = 3 * 1024 * 1024;
  files.addRoot({ name: "file", path: "/invented/file", isLink: false });
  files.add({ kind: "file", path: "file", sizeBytes, modifiedMs: 1, mode: 0o644 }, {
    sizeBytes,
    modifiedMs: 1,
    changedMs: 1,
    inode: 1,
  });
  return files;
}
