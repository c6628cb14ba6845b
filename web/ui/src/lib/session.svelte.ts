import { ask, Problem } from './api';
import { forget } from './told.svelte';

// Who is at the page.

export interface Session {
  logged_in: boolean; needs_setup: boolean; problem?: string; kind?: string; name?: string; role?: string; access?: 'read' | 'rules' | 'admin';
  devices?: string[]; may_pause?: boolean;
}

const ranks = ['read', 'rules', 'admin'];

class Who {
  known = $state(false);
  now = $state.raw<Session>({ logged_in: false, needs_setup: false });

  get in(): boolean { return this.now.logged_in; }

  /** may reports whether an operation that needs this access is allowed. The server decides; this hides what it would refuse. */
  may(access: 'read' | 'rules' | 'admin'): boolean { return ranks.indexOf(this.now.access ?? '') >= ranks.indexOf(access) && (access === 'read' || !this.#limited); }

  /** mayPause reports whether blocking may be paused for a device. */
  mayPause(device: string): boolean { return this.may('rules') || (this.#limited && !!this.now.may_pause && !!this.now.devices?.includes(device)); }

  // Those who may see some devices alone change nothing but pauses of these, whatever their access.
  get #limited(): boolean { return this.now.role === 'device'; }

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
    forget();
  }
}

export const session = new Who();
