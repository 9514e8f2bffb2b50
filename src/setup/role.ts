/** The executables of an installation, in the order in which they are installed. */
export const INSTALLED_ROLES = ["client", "server", "commander", "setup"] as const;

/** Which executable: the role that it is for. */
export type Role = (typeof INSTALLED_ROLES)[number];
