// Where in the console one is: the part of the address behind '#', such as
// #/log?vendor=Xiaomi. The server sees one page, so that it works behind any path.

export interface Place { path: string[]; query: URLSearchParams }

function read(): Place {
  if (/^#[^/]/.test(location.hash)) return { path: ['setup', decode(location.hash.slice(1))], query: new URLSearchParams() }; // a link that the server printed
  const text = location.hash.startsWith('#/') ? location.hash.slice(2) : '';
  const at = text.indexOf('?');
  const path = (at < 0 ? text : text.slice(0, at)).split('/').filter((part) => part !== '').map(decode);
  return { path, query: new URLSearchParams(at < 0 ? '' : text.slice(at + 1)) };
}

function decode(part: string): string {
  try { return decodeURIComponent(part); } catch { return part; }
}

export const place = $state<{ now: Place }>({ now: read() });

addEventListener('hashchange', () => { place.now = read(); });

export type Query = Record<string, string | number | undefined | null>;

/** link returns the address of a page, with empty parameters left out. */
export function link(path: string[], query: Query = {}): string {
  const q = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined && value !== null && value !== '') q.set(key, String(value));
  const text = q.toString();
  return '#/' + path.map(encodeURIComponent).join('/') + (text ? '?' + text : '');
}

/** named filters the log by exactly this name, and not by all that have it in them. */
export const named = (name: string) => ({ name: '=' + name });

export function go(to: string, replace = false): void {
  if (!replace) { location.hash = to; return; }
  history.replaceState(null, '', to);
  place.now = read();
}

/** withQuery is the address of this page with some parameters changed. */
export function withQuery(change: Query): string {
  const query: Query = {};
  for (const [key, value] of place.now.query) query[key] = value;
  return link(place.now.path, { ...query, ...change });
}
