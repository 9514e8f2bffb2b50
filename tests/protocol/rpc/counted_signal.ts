/** A signal that tells how many listen to it: what outlives a call or a node must not be kept by them. */
export class CountedSignal {
  readonly signal: AbortSignal = new AbortController().signal;
  listeners = 0;

  constructor() {
    const { signal } = this;
    const add = signal.addEventListener, remove = signal.removeEventListener;
    signal.addEventListener = (...values: Parameters<typeof add>) => {
      this.listeners++;
      add.apply(signal, values);
    };
    signal.removeEventListener = (...values: Parameters<typeof remove>) => {
      this.listeners--;
      remove.apply(signal, values);
    };
  }
}
