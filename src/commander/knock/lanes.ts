/** Runs tasks of the same key one after the other, in order; tasks of different keys side by side. */
export class KeyedLanes {
  readonly #lanes = new Map<string, { tail: Promise<void>; waiting: number }>();

  /**
   * Queues `task` behind those of its key.
   *
   * @returns settles as the task does; null if already `maxWaiting` tasks wait behind the running one
   */
  enter(key: string, task: () => Promise<void>, maxWaiting = Infinity): Promise<void> | null {
    const lane = this.#lanes.get(key) ?? { tail: Promise.resolve(), waiting: -1 };
    if (lane.waiting >= maxWaiting) return null;
    lane.waiting++;
    this.#lanes.set(key, lane);
    const ended = lane.tail.then(task).finally(() => {
      lane.waiting--;
      if (lane.waiting < 0) this.#lanes.delete(key);
    });
    // The next task runs even if this one threw.
    lane.tail = ended.catch(() => {});
    return ended;
  }
}
