import { place } from './router.svelte';

// The period that a page is of: its length in the address bar (last=7d), or from and until.

export const lengths = ['1h', '24h', '7d', '30d', '90d'] as const;
const units: Record<string, number> = { h: 3600, d: 86400, w: 7 * 86400 };

/** A Period is of the length last, or from a time until another or now. wrong is the text in the address that is no period: the usual one is shown in its place. */
export interface Period { last?: string; from: string; until?: string; wrong?: string }

export function period(usual: (typeof lengths)[number] = '7d'): Period {
  const q = place.now.query;
  const from = q.get('from'), until = q.get('until'), last = q.get('last');
  if (from) {
    const begin = Date.parse(from), end = until ? Date.parse(until) : Infinity;
    if (Number.isNaN(begin)) return ofLength(usual, from);
    if (Number.isNaN(end)) return ofLength(usual, until ?? '');
    if (begin >= end) return ofLength(usual, `${from} – ${until}`);
    return { from: new Date(begin).toISOString(), until: until ? new Date(end).toISOString() : undefined };
  }
  if (until) return ofLength(usual, `– ${until}`);
  return last && !secondsOf(last) ? ofLength(usual, last) : ofLength(last || usual);
}

function secondsOf(length: string): number {
  const m = /^(\d{1,4})([hdw])$/.exec(length);
  return m ? Number(m[1]) * (units[m[2] ?? ''] ?? 0) : 0;
}

function ofLength(last: string, wrong?: string): Period {
  return { last, from: new Date(Date.now() - secondsOf(last) * 1000).toISOString(), wrong };
}

/** lastNight is from 22:00 of yesterday until 6:00 of today, or until now where that is earlier. */
export function lastNight(): { from: string; until: string } {
  const now = new Date(), y = now.getFullYear(), m = now.getMonth(), d = now.getDate();
  const end = new Date(y, m, d, 6);
  return { from: new Date(y, m, d - 1, 22).toISOString(), until: end < now ? end.toISOString() : '' };
}

/** localTime writes a time as a field for date and time takes it, in the zone of the browser. */
export function localTime(time: string): string {
  const at = new Date(time);
  return new Date(+at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** same hands a period on to another page. */
export function same(p: Period): Record<string, string | undefined> {
  return p.last ? { last: p.last } : { from: p.from, until: p.until };
}
