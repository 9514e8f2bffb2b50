/** What both ends of a worker ring say on the base port; the dialogue stands in worker_ring.ts. */

/** Name of the transport. */
export const WORKER_RING = "worker-ring";

/** What travels over the base port. */
export type RingMessage =
  | { readonly postern: "ring-listening"; readonly name: string }
  | { readonly postern: "ring-ask"; readonly name: string; readonly id: string }
  | { readonly postern: "ring-yes" | "ring-no"; readonly id: string }
  | { readonly postern: "ring-up"; readonly id: string; readonly agent: string }
  | {
    readonly postern: "ring-open";
    readonly name: string;
    readonly id: string;
    readonly agent: string;
    readonly memory: SharedArrayBuffer;
  };

/** A UUID: no name of a lock that is not meant, and nothing that two threads would make alike. */
const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function isId(value: unknown): value is string {
  return typeof value === "string" && ID.test(value);
}

/** A message of ours; null for anything else that travels on the same port. */
export function ringMessage(data: unknown): RingMessage | null {
  if (typeof data !== "object" || data === null) return null;
  const { postern, name, id, agent, memory } = data as Record<string, unknown>;
  if (postern === "ring-listening") return typeof name === "string" ? { postern, name } : null;
  if (!isId(id)) return null;
  switch (postern) {
    case "ring-ask":
      return typeof name === "string" ? { postern, name, id } : null;
    case "ring-yes":
    case "ring-no":
      return { postern, id };
    case "ring-up":
      return isId(agent) ? { postern, id, agent } : null;
    case "ring-open":
      return typeof name === "string" && isId(agent) && memory instanceof SharedArrayBuffer
        ? { postern, name, id, agent, memory }
        : null;
    default:
      return null;
  }
}
