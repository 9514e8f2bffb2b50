/** The node with what the machine offers: its discovery, where none is given. */
import type { Contract } from "../protocol/rpc/contract.ts";
import type { Discovery, DiscoveryOptions } from "../protocol/rpc/discovery/discovery.ts";
import { NodeBuilder, type NodeOptions } from "../protocol/rpc/node.ts";
import { guardedListener } from "../protocol/rpc/node_event.ts";
import { folderDiscovery } from "./discovery_folder.ts";
import { registryDiscovery } from "./discovery_registry.ts";

/**
 * A program's services, offered and used.
 *
 * `publish` and `waitFor` look in this user's folder of services, on Windows in the registry, unless another discovery
 * is given; a node that uses neither needs no permission for them.
 */
export class Node<C extends Contract | null = null> extends NodeBuilder<C> {
  /** Begins an empty node. */
  constructor(options: NodeOptions = {}) {
    super({ ...options, discovery: options.discovery ?? lateDiscovery(options) });
  }
}

/** Opened when it is used first: most nodes never ask. */
function lateDiscovery({ timers, randomBytes, onEvent }: NodeOptions): Discovery {
  const report = guardedListener(onEvent);
  const onProblem = (error: unknown): void => report({ kind: "problem", error });
  let opened: Discovery | null = null;
  const open = (): Discovery => opened ??= machineDiscovery({ timers, randomBytes, onProblem });
  return {
    publish: async (publication) => await open().publish(publication),
    resolve: async (name) => await open().resolve(name),
    waitFor: async (name, options) => await open().waitFor(name, options),
    watch: (name, options) => open().watch(name, options),
  };
}

/**
 * The discovery of this machine: the registry on Windows, elsewhere the folder. Linux inside of Windows has its own
 * folder too; to meet programs of the Windows side, give the node `registryDiscovery()`.
 *
 * @throws {DiscoveryError} "store" if the environment names no folder
 */
export function machineDiscovery(options: DiscoveryOptions = {}): Discovery {
  return Deno.build.os === "windows" ? registryDiscovery(options) : folderDiscovery(options);
}
