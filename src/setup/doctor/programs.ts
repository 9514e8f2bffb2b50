/**
 * The programs that doctors ask, by absolute path, so that neither PATH nor a scope can lead to another. None of
 * these calls changes anything.
 */

/** Where a program may lie, the usual place first; systems differ. */
export type Program = readonly [string, ...string[]];

export const SYSTEMCTL: Program = ["/usr/bin/systemctl", "/bin/systemctl"];
/** Of iproute2: who listens where. */
export const SS: Program = ["/usr/bin/ss", "/usr/sbin/ss", "/bin/ss"];
/** Of iproute2: which way a packet would go. */
export const IP: Program = ["/usr/sbin/ip", "/usr/bin/ip", "/sbin/ip", "/bin/ip"];
export const NFT: Program = ["/usr/sbin/nft", "/usr/bin/nft", "/sbin/nft"];
export const DF: Program = ["/usr/bin/df", "/bin/df"];
/** Reads below /proc, which the runtime keeps to itself whatever it is allowed. */
export const CAT: Program = ["/usr/bin/cat", "/bin/cat"];
