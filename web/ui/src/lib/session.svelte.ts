import { ask, Problem } from './api';
import { dismissAll } from './notices.svelte';

// Who is at the page.

export interface Session {
  logged_in: boolean; needs_setup: boolean; problem?: string; kind?: string; name?: string; role?: string; access?: 'read' | 'rules' | 'admin';
  devices?: string[]; may_pause?: boolean; one_time_codes?: boolean; until?: string;
}

const ranks = ['read', 'rules', 'admin'];
const ownPages = ['', 'log', 'devices', 'vendors', 'names', 'account', 'about']; // of those who may see some devices alone

class Who {
  known = $state(false);
  now = $state.raw<Session>({ logged_in: false, needs_setup: false });

  get in(): boolean { return this.now.logged_in; }

  /** may reports whether an operation that needs this access is allowed. The server decides; this hides what it would refuse. */
  may(access: 'read' | 'rules' | 'admin'): boolean { return ranks.indexOf(this.now.access ?? '') >= ranks.indexOf(access) && (access === 'read' || !this.limited); }

  /** mayPause reports whether blocking may be paused for a device. */
  mayPause(device: string): boolean { return this.may('rules') || (this.limited && !!this.now.may_pause && !!this.now.devices?.includes(device)); }

  /** limited: some devices alone may be seen, and nothing be changed but pauses of these, whatever the access. */
  get limited(): boolean { return this.now.role === 'device'; }

  /** sees reports whether a page, by its first path part, has anything for who is here. */
  sees(page: string): boolean {
    if (page === 'accounts') return this.may('admin');
    if (page === 'account') return this.now.kind === 'account';
    return !this.limited || ownPages.includes(page);
  }

  #take(s: Session): void {
    this.now = s;
    this.known = true;
  }

  async ask(signal?: AbortSignal): Promise<void> {
    try {
      this.#take(await ask<Session>('GET', 'session', { quiet: true, signal }));
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404) throw error;
      this.#take({ logged_in: true, needs_setup: false, kind: 'command', access: 'admin' }); // the control socket of a version without sessions
    }
  }

  async enter(name: string, passphrase: string, code: string): Promise<void> {
    this.#take(await ask<Session>('POST', 'session', { body: { name, passphrase, ...(code ? { code } : {}) }, quiet: true }));
  }

  async setUp(token: string, name: string, passphrase: string): Promise<void> {
    this.#take(await ask<Session>('POST', 'setup', { body: { token, ...(name ? { name } : {}), passphrase }, quiet: true }));
  }

  async leave(): Promise<void> {
    await ask('DELETE', 'session');
    this.ended();
  }

  ended(): void {
    this.now = { logged_in: false, needs_setup: false };
    dismissAll();
  }
}

export const session = new Who();
