import { get, type Schemas } from './api';

// The report of a period, as docs/report.schema.json describes it: the same that
// `telltale report --json` prints.

export interface Count { attempts: number; lookups: number }
export interface Counts extends Count { blocked: Count; observed: Count; allowed: Count; passed: Count; answered: Count; unknown: Count }
export interface Gap { since: string; until: string; effect: string; kind: string; subject?: string; detail?: string }
export interface Coverage { length: number; recorded: number; whole: boolean; text: string; gaps: Gap[] | null; listed?: string; unlisted?: string }
export interface Slot extends Count { since: string; until: string; recorded: number; blocked: Count }
export interface Cell extends Count { weekday: number; hour: number; recorded: number }
export interface Trend { before: number; now: number; change: number | null }
export interface Tier extends Count { tier: string }
export interface Purpose extends Count { purpose: string; tier: string }
export interface Name {
  name: string; alias?: string; product: string; purpose: string; tier: string; region?: string; breaks?: string; attribution: string; listed_by: string;
  sources: string[] | null; confidence: string; independent: number; contested: boolean; counts: Counts; first: string; last: string; devices: number;
}
export interface Vendor {
  vendor: string; counts: Counts; per_hour: number; night: number; first: string; last: string; tiers: Tier[] | null; products: string[] | null;
  purposes: Purpose[] | null; names: Name[] | null; names_at_least: number; sources: string[] | null; devices: string[] | null; series: number[] | null; trend: Trend | null;
}
export interface VendorPart extends Count { vendor: string }
export interface ReportDevice {
  device: string; label: string; asked: Counts; listed: Counts; per_hour: number; vendors: VendorPart[] | null; confidence: string[] | null; first: string; last: string; trend: Trend | null;
}
export interface Destination { name: string; vendor: string; since: string; asked: string; operators: string[] | null; countries: string[] | null; text: string[] | null }
export interface Country extends Count { country: string; names: number }
export interface Marker { time: string; kind: string; text: string }
export interface Report {
  version: number; made: string; about: { kind: string; device: string; label: string; vendor: string }; since: string; until: string; zone: string;
  coverage: Coverage; unit: 'attempts' | 'lookups'; asked: Counts; listed: Counts; deleted: number; tiers: Tier[] | null; per_hour: number;
  night: Count & { share: number; recorded: number }; vendors: Vendor[] | null; owners: { owner: string; counts: Counts }[] | null; devices: ReportDevice[] | null;
  timeline: { step: string; slots: Slot[] | null }; hours: Cell[] | null; new: { name: string; vendor: string; tier: string; purpose: string }[] | null; gone: { name: string; vendor: string }[] | null;
  destinations: Destination[] | null; countries: Country[] | null; markers: Marker[] | null; caveats: string[] | null; proves: string[] | null; limits: string[] | null; rhythm?: Schemas['RhythmFindings'] | null;
}

/** A Row is one of the log, as docs/querylog.md describes it. */
export interface Row {
  time: string; last: string; count: number; node: string; device: string; client: string; name: string; type: string; verdict: string; reason?: string; observed_by?: string;
  list: string; line: number; rule: string; vendor: string; product: string; purpose: string; tier: string; source: string; rcode: string; answered_from: string; transport: string;
  ttl: number; elapsed: number; attempts?: number; region?: string; confidence?: string; independent?: number; contested?: boolean; breaks?: string; attribution?: string;
  attribution_list?: string; attribution_line?: number; alias?: string; client_id?: string; upstream?: string; device_name?: string; mac?: string; binding?: number;
  binding_source?: string; binding_confidence?: string; imported?: string; folded?: boolean; open?: boolean; store: string; id: number;
  corrected?: { device: string; name: string };
}

/** deviceOf is the device of a row as it is known today: by what people corrected, else as it was recorded. */
export function deviceOf(r: Row): { device: string; name: string } {
  const device = r.corrected?.device || r.device;
  return { device, name: r.corrected?.name || r.device_name || device };
}

export interface ReportQuery { from: string; until?: string; device?: string; vendor?: string; rhythm?: boolean; compare?: boolean }

// The days and hours of a report are those that the page names.
const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
/** zone is that of the browser; undefined: it has none, and the server's is meant. */
export const zone = own === 'Etc/Unknown' ? undefined : own;

export const getReport = (q: ReportQuery, signal?: AbortSignal) =>
  get<Report>('report', { from: q.from, until: q.until, device: q.device, vendor: q.vendor, rhythm: q.rhythm || undefined, compare: q.compare ? undefined : 'none', tz: zone }, signal);
