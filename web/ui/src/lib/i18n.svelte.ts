import { IntlMessageFormat } from 'intl-messageformat';
import de from '../locales/de.json';
import en from '../locales/en.json';

// Words of the page, in ICU message format. docs/console.md says how to add a language.

const texts: Record<string, Record<string, string>> = { en, de };
export const languages: { code: string; name: string }[] = [{ code: 'en', name: 'English' }, { code: 'de', name: 'Deutsch' }];

const key = 'telltale.language';

function chosen(): string {
  const wanted = [remembered(key), ...navigator.languages.map((l) => l.split('-')[0] ?? '')];
  return wanted.find((l) => l !== null && l in texts) ?? 'en';
}

export function remembered(what: string): string | null {
  try { return localStorage.getItem(what); } catch { return null; }
}

export function remember(what: string, value: string): void {
  try { localStorage.setItem(what, value); } catch { /* private windows keep nothing */ }
}

export const language = $state({ code: chosen() });

export function choose(code: string): void {
  language.code = code;
  remember(key, code);
}

const made = new Map<string, IntlMessageFormat>();

/** t returns a text of the language in use. Values are put in as text. */
export function t(id: string, values?: Record<string, string | number>): string {
  const text = texts[language.code]?.[id];
  if (text === undefined) return id;
  if (!text.includes('{')) return text;
  const at = language.code + ' ' + id;
  let message = made.get(at);
  if (!message) made.set(at, (message = new IntlMessageFormat(text, language.code, undefined, { ignoreTag: true })));
  return String(message.format(values));
}

/** word returns the text of a word of the API, or the word itself where there is none. */
export function word(group: string, value: string): string {
  return texts[language.code]?.[`${group}.${value}`] ?? value;
}

// The fixed sentences of the server, by their English text.
const sentences = new Map(Object.entries(en).filter(([id]) => id.startsWith('said.')).map(([id, text]) => [text, id.slice('said.'.length)]));

/** sentence returns a sentence of the server in the language in use; undefined: it is none of its fixed ones. */
export function sentence(text: string): string | undefined {
  const id = sentences.get(text);
  return id === undefined ? undefined : word('said', id);
}

// The region decides how dates are written, where it is of the language in use.
function regional(): string {
  return navigator.languages.find((l) => l.split('-')[0] === language.code) ?? language.code;
}

const formats = new Map<string, Intl.DateTimeFormat>();
function dates(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const at = regional() + JSON.stringify(options);
  let f = formats.get(at);
  if (!f) formats.set(at, (f = new Intl.DateTimeFormat(regional(), options)));
  return f;
}

export const number = (n: number) => new Intl.NumberFormat(regional()).format(n);
/** ratio writes a rate, or how many times as often, with up to two digits behind the point. */
export const ratio = (n: number) => new Intl.NumberFormat(regional(), { maximumFractionDigits: 2 }).format(n);
export const dateTime = (time: string | Date) => dates({ dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(time));
export const dateMinute = (time: string | Date) => dates({ dateStyle: 'medium', timeStyle: 'short' }).format(new Date(time));
export const clock = (time: string | Date) => dates({ timeStyle: 'medium' }).format(new Date(time));
export const day = (time: string | Date) => dates({ weekday: 'short', day: 'numeric', month: 'short' }).format(new Date(time));
export const hour = (time: string | Date) => dates({ hour: '2-digit', minute: '2-digit' }).format(new Date(time));
/** weekday is the name of a day, 0 for Monday. */
export const weekday = (n: number) => dates({ weekday: 'short', timeZone: 'UTC' }).format(new Date(Date.UTC(2024, 0, 1 + n)));

/** span writes seconds in the largest unit that fits. */
export function span(seconds: number): string {
  const s = Math.round(seconds);
  const units: [number, string][] = [[86400, 'day'], [3600, 'hour'], [60, 'minute'], [1, 'second']];
  const [size, unit] = units.find(([size]) => s >= size * (size === 86400 ? 2 : 1)) ?? [1, 'second'];
  const value = s / size;
  return new Intl.NumberFormat(regional(), { style: 'unit', unit, unitDisplay: 'long', maximumFractionDigits: value < 10 && size > 60 ? 1 : 0 }).format(value);
}

/** length writes seconds as reports do: 167 h 59 m. It never rounds up. */
export function length(seconds: number): string {
  const h = Math.floor(seconds / 3600), m = Math.floor(seconds / 60) % 60, s = Math.floor(seconds) % 60;
  return [h ? `${number(h)} h` : '', m ? `${m} m` : '', h || (m && !s) ? '' : `${s} s`].filter((part) => part !== '').join(' ');
}

/** ago writes how long ago a time is. */
export function ago(time: string): string {
  const s = (Date.now() - new Date(time).getTime()) / 1000;
  if (s < 60) return t('time.now');
  return t('time.ago', { span: span(s) });
}

/** millis writes nanoseconds as milliseconds. */
export const millis = (nanoseconds: number) => new Intl.NumberFormat(regional(), { maximumFractionDigits: nanoseconds < 1e7 ? 1 : 0 }).format(nanoseconds / 1e6) + ' ms';

/** region is the name of a country by its code of ISO 3166-1, or what is given where that is none. */
export function region(code: string): string {
  if (!/^[A-Z]{2}$/.test(code)) return code;
  try { return new Intl.DisplayNames(language.code, { type: 'region' }).of(code) ?? code; } catch { return code; }
}
