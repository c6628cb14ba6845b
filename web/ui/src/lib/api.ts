import type { components } from './openapi';

// The server's API, as web/openapi.json describes it.

export type Schemas = components['schemas'];
export type Status = Schemas['Status'];
export type Finding = Schemas['Finding'];
export type List = Schemas['List'];
export type Device = Schemas['Device'];
export type Upstream = Schemas['Upstream'];
export type Explanation = Schemas['Explanation'];
export type Change = Schemas['Change'];
export type Temporary = Schemas['Temporary'];
export type Diff = Schemas['Diff'];
export type Experiment = Schemas['Experiment'];
export type History = Schemas['History'];
/** A Refreshed is a line of the answer to a refresh of lists. */
export interface Refreshed { name: string; bytes: number; total?: number; done?: boolean; outcome?: string; rules?: number; bad_lines?: number; error?: string }

/** A Problem is an error as RFC 9457 has it; status 0: the server could not be reached. */
export class Problem extends Error {
  constructor(readonly status: number, message: string, readonly body: Record<string, unknown> = {}) { super(message); }
}

/** base is where the API is: beside the page, whatever path that is behind. */
export const base = new URL('api/v1/', location.origin + location.pathname.replace(/[^/]*$/, ''));

let whenUnauthorized = () => {};
export function onUnauthorized(f: () => void): void { whenUnauthorized = f; }

export type Values = Record<string, string | number | boolean | undefined | null>;

export function address(path: string, query: Values = {}): URL {
  const url = new URL(path, base);
  for (const [key, value] of Object.entries(query)) if (value !== undefined && value !== null && value !== '') url.searchParams.set(key, String(value));
  return url;
}

export interface Call { query?: Values; body?: unknown; text?: string; signal?: AbortSignal; headers?: Record<string, string>; quiet?: boolean }

/** respond asks the API, and returns the reply to a request that went well. */
export async function respond(method: string, path: string, call: Call = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', ...call.headers };
  let body: string | undefined;
  if (call.text !== undefined) { body = call.text; headers['Content-Type'] ??= 'text/plain; charset=utf-8'; }
  if (call.body !== undefined) { body = JSON.stringify(call.body); headers['Content-Type'] = 'application/json'; }
  let reply: Response;
  try {
    reply = await fetch(address(path, call.query), { method, headers, body, signal: call.signal, credentials: 'same-origin', cache: 'no-store' });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Problem(0, '');
  }
  if (reply.ok) return reply;
  if (reply.status === 401 && !call.quiet) whenUnauthorized();
  let says: Record<string, unknown> = {};
  try { says = await reply.json(); } catch { /* it said nothing */ }
  throw new Problem(reply.status, sayOf(says) || reply.statusText, says);
}

// An error of the API says in detail what is wrong, and in errors where.
function sayOf(says: Record<string, unknown>): string {
  const parts = [typeof says.detail === 'string' ? says.detail : typeof says.title === 'string' ? says.title : ''];
  if (Array.isArray(says.errors)) for (const e of says.errors) if (e && typeof e.message === 'string') parts.push(typeof e.location === 'string' && e.location ? `${e.location}: ${e.message}` : e.message);
  return parts.filter((part) => part !== '').join('; ');
}

export async function ask<T>(method: string, path: string, call: Call = {}): Promise<T> {
  const reply = await respond(method, path, call);
  if (reply.status === 204) return undefined as T;
  return reply.json() as Promise<T>;
}

export const get = <T>(path: string, query: Values = {}, signal?: AbortSignal) => ask<T>('GET', path, { query, signal });

/** lines asks for a reply of one line of JSON for each step, and tells each as it comes. */
export async function lines<T>(path: string, body: unknown, step: (line: T) => void): Promise<void> {
  const reply = await respond('POST', path, { body });
  if (!reply.body) return;
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (value) rest += value;
    const parts = rest.split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part !== '') step(JSON.parse(part) as T);
    if (done) return;
  }
}
