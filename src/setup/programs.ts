/** The programs that setup runs: by absolute path, so that neither PATH nor a scope can lead to another. */

export const SYSTEMCTL = "/usr/bin/systemctl";
export const JOURNALCTL = "/usr/bin/journalctl";
/** Makes user and group, also below another root; the same on every distribution with systemd. */
export const SYSUSERS = "/usr/bin/systemd-sysusers";
/** Of systemd too, where `sysctl` is a package of its own that a small machine lacks. */
export const SYSCTL = "/usr/lib/systemd/systemd-sysctl";
export const USERDEL = "/usr/sbin/userdel";
export const GROUPADD = "/usr/sbin/groupadd";
export const GROUPDEL = "/usr/sbin/groupdel";
export const DF = "/usr/bin/df";
