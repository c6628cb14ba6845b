import { onDestroy } from 'svelte';
import { Problem } from './api';

/** A Load is what a page shows of the API: what came last, whether more is under way, and what went wrong. A component makes it; what is under way ends with the component. */
export class Load<T> {
  value = $state.raw<T>();
  problem = $state.raw<Problem>();
  busy = $state(false);
  #under?: AbortController;

  constructor() { onDestroy(() => this.stop()); }

  /**
   * run asks, and gives up what was asked for before. What is shown stays until the answer is here. It reports whether
   * an answer came and was taken. A server that has not answered within so many milliseconds is one that does not answer.
   */
  async run(f: (signal: AbortSignal) => Promise<T>, within = 0): Promise<boolean> {
    this.#under?.abort();
    const own = (this.#under = new AbortController());
    this.busy = true;
    let late = false;
    const timer = within ? setTimeout(() => { if (!own.signal.aborted) { late = true; own.abort(); } }, within) : undefined;
    try {
      const value = await f(own.signal);
      if (own.signal.aborted) return false;
      this.value = value;
      this.problem = undefined;
      return true;
    } catch (error) {
      if (late && this.#under === own) this.problem = new Problem(0, '');
      else if (!own.signal.aborted) this.problem = error instanceof Problem ? error : new Problem(-1, String(error));
      return false;
    } finally {
      clearTimeout(timer);
      if (this.#under === own) this.busy = false;
    }
  }

  stop(): void { this.#under?.abort(); }

  /** clear gives up what is under way, and forgets what came. */
  clear(): void {
    this.stop();
    this.#under = undefined;
    this.value = this.problem = undefined;
    this.busy = false;
  }
}
