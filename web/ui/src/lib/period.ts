import { place } from './router.svelte';

// The period that a page is of: its length in the address bar (last=7d), or from and until.

export const lengths = ['1h', '24h', '7d', '30d', '90d'] as const;
const units: Record<string, number> = { h: 3600, d: 86400, w: 7 * 86400 };

export interface Period { last?: string; from: string; until?: string }

export function period(usual = '7d'): Period {
  const q = place.now.query;
  const from = q.get('from');
  if (from && !Number.isNaN(Date.parse(from))) {
    const until = q.get('until');
    return { from: new Date(from).toISOString(), until: until && !Number.isNaN(Date.parse(until)) ? new Date(until).toISOString() : undefined };
  }
  const last = q.get('last') ?? usual;
  const m = /^(\d{1,4})([hdw])$/.exec(last);
  const seconds = m ? Number(m[1]) * (units[m[2] ?? ''] ?? 0) : 7 * 86400;
  return { last, from: new Date(Date.now() - seconds * 1000).toISOString() };
}

/** same hands a period on to another page. */
export function same(p: Period): Record<string, string | undefined> {
  return p.last ? { last: p.last } : { from: p.from, until: p.until };
}
