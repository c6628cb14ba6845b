import { Problem } from './api';

/** A Load is what a page shows of the API: what came last, whether more is under way, and what went wrong. */
export class Load<T> {
  value = $state.raw<T>();
  problem = $state.raw<Problem>();
  busy = $state(false);
  #under?: AbortController;

  /** run asks, and gives up what was asked for before. What is shown stays until the answer is here. */
  async run(f: (signal: AbortSignal) => Promise<T>): Promise<void> {
    this.#under?.abort();
    const own = (this.#under = new AbortController());
    this.busy = true;
    try {
      const value = await f(own.signal);
      if (own.signal.aborted) return;
      this.value = value;
      this.problem = undefined;
    } catch (error) {
      if (own.signal.aborted) return;
      this.problem = error instanceof Problem ? error : new Problem(-1, String(error));
    } finally {
      if (this.#under === own) this.busy = false;
    }
  }

  stop(): void { this.#under?.abort(); }
}
