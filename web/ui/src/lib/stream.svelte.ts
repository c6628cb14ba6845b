// Rows of the log as they come, by server-sent events. A connection that is lost is taken
// up again behind the last event, which the browser names; the first begins behind the row
// that its address names in after.

export interface Following { readonly state: 'begins' | 'follows' | 'lost'; end(): void }

class Stream<T> implements Following {
  state = $state<'begins' | 'follows' | 'lost'>('begins');
  #source: EventSource | undefined;
  #url: URL;
  #last = '';
  #came: T[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #deliver: (came: T[]) => void;

  constructor(url: URL, deliver: (came: T[]) => void) {
    this.#url = url;
    this.#deliver = deliver;
    this.#begin();
  }

  #begin(): void {
    const url = new URL(this.#url);
    if (this.#last) url.searchParams.set('after', this.#last); // instead of the address's own
    const source = (this.#source = new EventSource(url));
    source.onopen = () => { this.state = 'follows'; };
    source.onmessage = (e) => this.#take(e);
    source.addEventListener('row', (e) => this.#take(e as MessageEvent<string>));
    source.onerror = () => {
      this.state = 'lost';
      if (source.readyState === EventSource.CLOSED) this.#again = setTimeout(() => this.#begin(), 3000); // the browser gave up
    };
  }

  // Many rows that come at once are shown together.
  #take(e: MessageEvent<string>): void {
    this.#last = e.lastEventId || this.#last;
    try { this.#came.unshift(JSON.parse(e.data) as T); } catch { return; }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const came = this.#came;
      this.#came = [];
      this.#deliver(came);
    }, 100);
  }

  end(): void {
    this.#source?.close();
    clearTimeout(this.#timer);
    clearTimeout(this.#again);
  }
}

export const follow = <T>(url: URL, deliver: (came: T[]) => void): Following => new Stream<T>(url, deliver);
