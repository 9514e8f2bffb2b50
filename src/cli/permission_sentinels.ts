/**
 * What a role has no use for and somebody may have granted all the same. The runtime answers about one grant and
 * lists none, so these are asked about; a grant of anything that is not here goes unseen.
 *
 * Only the kinds that the server and the commander keep: every other kind is dropped as a whole before.
 */

/** The usual folders of a root file system, and files of credentials. */
const PATHS = [
  ...[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
  ],
  ...["/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/Users"],
  ...["/dev/shm", "/etc/shadow", "/etc/ssh", "/usr/bin", "/usr/local", "/var/lib", "/var/log", "/var/run"],
];

/** This machine, private networks, the metadata service of clouds, and names that are typed as examples. */
const HOSTS = [
  ...["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "[::]", "10.0.0.1", "172.16.0.1", "192.168.0.1"],
  ...["169.254.169.254", "1.1.1.1", "8.8.8.8", "example.com", "deno.land"],
];
const PORTS = ["22", "53", "80", "443"];
const SOCKETS = [
  ...["unix:/run/docker.sock", "unix:/var/run/docker.sock", "unix:/run/containerd/containerd.sock"],
  "unix:/run/dbus/system_bus_socket",
];

/** Not `sh`: depending on PATH it is the shell that the commander needs. */
const PROGRAMS = ["bash", "curl", "deno", "env", "perl", "python3", "sudo", "systemctl"];

/** The scopes to ask about, by kind. */
export const SENTINELS = {
  read: PATHS,
  write: PATHS,
  net: [...HOSTS.flatMap((host) => [host, ...PORTS.map((port) => `${host}:${port}`)]), ...SOCKETS],
  run: PROGRAMS,
  env: [],
  sys: [],
} as const satisfies Record<string, readonly string[]>;
