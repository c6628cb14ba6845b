// @ts-check
// Checks a bundle where it is: in the browser, of a file that was dropped on the page, without
// asking anybody. docs/bundles.md and docs/seals.md are what it follows; its verdicts and words are those of
// docs/verify/verify.py, and the tests of package bundle give both the same bundles.
import { crc32, isSigned, sha256, Sha256 } from './hashes.js';
import { endOfText, format, parse } from './json.js';

/** @typedef {import('./json.js').Json} Json */
/** @typedef {{ size: number, read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> }} Source where the octets of a bundle are */
/** @typedef {{ name: string, id: string, octets: Uint8Array, text: string }} Key */
/** @typedef {{ body: string, signatures: { name: string, id: string, octets: Uint8Array }[] }} Note */
/** @typedef {{ origin: string, size: number, root: Uint8Array, note: Note }} Checkpoint */
/** @typedef {{ offset: number, size: number, crc: number }} Entry */
/** @typedef {{ known: boolean, counts: Record<string, number>, first: number, last: number, made: number, off: { from: number, until: number }[], leaves: number, key: string, since: number, until: number, devices: string[], given: number, rowsBefore: number, handovers: number }} Result */

/** Bad is what is wrong with a bundle. */
export class Bad extends Error {}

const entryNames = ['README.txt', 'about.json', 'lists.json', 'bindings.jsonl', 'report.html', 'report.json', 'witnesses.jsonl', 'key.txt', 'checkpoint.txt',
  'statements.jsonl', 'ledger.jsonl', 'rows.jsonl', 'rows.csv', 'leaves.txt', 'leaves.bin', 'manifest.txt'];
/** @type {Record<string, string>} */
const shownIn = { row: 'rows.jsonl', ledger: 'ledger.jsonl', statement: 'statements.jsonl' };
/** The keys of each kind of line, in their order: a # is behind those of numbers, a * behind that of pairs. @type {Map<string, string[]>} */
const lineKeys = new Map([
  'row# id# node first# last# count# attempts# as_lookups# device device_name client client_id mac binding# binding_source binding_confidence name type# alias folded# verdict reason ' +
  'observed_by list line# rule attribution attribution_list attribution_line# vendor product purpose tier region source breaks since confidence software rcode# answered_from transport ttl# elapsed# upstream imported',
  'ledger# id# node time# since# until# kind subject detail', 'start# time# origin from# previous', 'end# time# from#', 'removal# time# of why count# ids*', 'handover# time# note',
].map((keys) => [keys.slice(0, keys.indexOf('#')), keys.split(' ')]));
const columns = ('leaf first last count attempts device device_name client name alias type verdict reason list line rule ' +
  'vendor product purpose tier source confidence rcode answered_from').split(' ');
/** @type {Record<number, string>} */
const types = { 1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 12: 'PTR', 15: 'MX', 16: 'TXT', 28: 'AAAA', 33: 'SRV', 64: 'SVCB', 65: 'HTTPS', 255: 'ANY' };
const maxText = 1 << 24; // octets of a line, and of a short file
const maxTime = 253402300800000; // the year 10000
const maxOff = 1 << 10, maxClaims = 1 << 20;
const chunk = 1 << 20;

/** @param {unknown} condition @param {string} what @returns {asserts condition} */
function need(condition, what) {
  if (!condition) throw new Bad(what);
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }), utf8 = new TextEncoder();
/** @param {Uint8Array} octets */
const latin1 = (octets) => { let s = ''; for (const o of octets) s += String.fromCharCode(o); return s; };
/** @param {Uint8Array} octets */
const hex = (octets) => { let s = ''; for (const o of octets) s += o.toString(16).padStart(2, '0'); return s; };
/** @param {Uint8Array} a @param {Uint8Array} b */
const equal = (a, b) => a.length === b.length && a.every((o, i) => o === b[i]);
/** @param {Uint8Array} octets */
const base64 = (octets) => btoa(latin1(octets));
/** @param {string} text @param {number} size @param {string} what */
function unbase64(text, size, what) {
  let octets = new Uint8Array();
  try { octets = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); } catch { /* refused below */ }
  need(octets.length === size && base64(octets) === text, `${what} is not base64 of ${size} octets`);
  return octets;
}

/** readKey reads a public key, NAME+HASH+BASE64. @param {string} text @returns {Key} */
export function readKey(text) {
  const m = /^(telltale\/[0-9a-f]{16})\+([^+]*)\+(.*)$/s.exec(text);
  need(m, `${JSON.stringify(text.slice(0, 80))} is no key of Telltale: NAME+HASH+BASE64 is`);
  const [, name = '', id = '', rest = ''] = m, octets = unbase64(rest, 33, 'the key');
  need(octets[0] === 1 && hex(sha256(utf8.encode(name + '\n'), octets)).slice(0, 8) === id, `the hash of the key ${name} is not that of its octets: it was copied with a mistake`);
  return { name, id, octets: octets.slice(1), text };
}

/**
 * readNote reads a signed note by the rules of Go's golang.org/x/mod/sumdb/note; docs/verify/notes.json has some that are taken, and some that are not.
 * @param {Uint8Array} octets @param {string} what @returns {Note}
 */
function readNote(octets, what) {
  let text = '';
  try { text = strict.decode(octets); } catch { /* refused below */ }
  const gap = text.lastIndexOf('\n\n'), rest = text.slice(gap + 2), lines = rest.slice(0, -1).split('\n');
  need(gap >= 0 && rest.endsWith('\n') && octets.length <= maxText && !/[\u0000-\u0009\u000b-\u001f]/.test(text), what + ' is no signed note');
  /** @type {Note['signatures']} */
  const signatures = [];
  for (const line of lines) {
    const m = /^\u2014 ([^ +\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+) ([A-Za-z0-9+/]{7,}={0,2})$/.exec(line);
    const [, name = '', signed = ''] = m ?? [];
    need(m && signed.length % 4 === 0 && lines.length <= 100, what + ' has a line behind its text that is no signature, or more than 100');
    const s = Uint8Array.from(atob(signed), (c) => c.charCodeAt(0));
    signatures.push({ name, id: hex(s.subarray(0, 4)), octets: s.slice(4) });
  }
  return { body: text.slice(0, gap) + '\n', signatures };
}
/** isBy says whether a key has signed a note. Its first signature decides, and a wrong one refuses the note. @param {Note} note @param {Key} key */
export function isBy(note, key) {
  const first = note.signatures.find((s) => s.name === key.name && s.id === key.id);
  need(!first || (first.octets.length === 64 && isSigned(key.octets, utf8.encode(note.body), first.octets)), `a signature by the key ${key.name} is wrong`);
  return first !== undefined;
}
/** @param {Key} a @param {Key} b */
const isSame = (a, b) => a.name === b.name && a.id === b.id && equal(a.octets, b.octets);

/** @param {Uint8Array} octets @param {string} what @returns {Checkpoint} */
export function readCheckpoint(octets, what) {
  const note = readNote(octets, what), m = /^(telltale\/[0-9a-f]{16})\n(0|[1-9][0-9]{0,14})\n([A-Za-z0-9+/=]+)\n$/.exec(note.body);
  need(m && Number(m[2]) <= 2 ** 48, what + ' is no checkpoint of Telltale');
  const origin = m[1] ?? '';
  // Others have signed that they saw it.
  return { origin, size: Number(m[2]), root: unbase64(m[3] ?? '', 32, 'the root of ' + what), note: { body: note.body, signatures: note.signatures.filter((s) => s.name === origin) } };
}

/** @param {number[]} values @param {number[]} sizes numbers, the lowest octet first, of so many octets each */
function packed(values, sizes) {
  const out = [];
  for (let i = 0; i < values.length; i++) for (let k = 0, n = values[i] ?? 0; k < (sizes[i] ?? 0); k++, n = Math.floor(n / 256)) out.push(n % 256);
  return out;
}

/** openZip reads the container: a zip whose every octet follows from names, order and contents. @param {Source} data */
async function openZip(data) {
  const begin = await data.read(0, Math.min(4, data.size));
  need(equal(begin, Uint8Array.of(0x50, 0x4b, 3, 4)) && data.size < 2 ** 32, 'this is no bundle: it does not begin as a zip file does, or is larger than 4 GiB');
  /** @type {Map<string, Entry>} */
  const entries = new Map();
  /** @type {number[]} */
  const directory = [];
  let offset = 0;
  for (const name of entryNames) {
    const there = await data.read(offset, Math.min(30 + name.length, Math.max(0, data.size - offset)));
    const view = new DataView(there.buffer, there.byteOffset, there.length);
    const crc = there.length >= 30 ? view.getUint32(14, true) : 0, size = there.length >= 30 ? view.getUint32(18, true) : 0;
    const head = [...packed([0x04034b50, 10, 0, 0, 0, 33, crc, size, size, name.length, 0], [4, 2, 2, 2, 2, 2, 4, 4, 4, 2, 2]), ...utf8.encode(name)];
    need(equal(there, Uint8Array.from(head)), `${name} is not where and as it must be: the bundle was changed, cut short or packed again, or is of another version`);
    directory.push(...packed([0x02014b50, 10], [4, 2]), ...head.slice(4, 30), ...new Array(10).fill(0), ...packed([offset], [4]), ...utf8.encode(name));
    entries.set(name, { offset: offset + head.length, size, crc });
    offset += head.length + size;
  }
  directory.push(...packed([0x06054b50, 0, entryNames.length, entryNames.length, directory.length, offset, 0], [4, 4, 2, 2, 4, 4, 2]));
  need(data.size - offset === directory.length && equal(await data.read(offset, directory.length), Uint8Array.from(directory)),
    'its directory is not as Telltale writes it: the bundle was changed, cut short or packed again');
  return entries;
}

/** @param {Map<string, Entry>} entries @param {string} name */
function entry(entries, name) {
  return /** @type {Entry} */ (entries.get(name)); // openZip found all of them
}

/** @param {Source} data @param {Entry} e */
const short = (data, e) => data.read(e.offset, Math.min(e.size, maxText + 1));

/** @param {Source} data @param {Map<string, Entry>} entries @param {(part: number) => void} progress */
async function checkManifest(data, entries, progress) {
  const own = entry(entries, 'manifest.txt'), octets = await short(data, own);
  need(crc32(octets) === own.crc, 'manifest.txt was changed: it has another sum');
  const text = latin1(octets.subarray(0, 40));
  need(text.startsWith('telltale bundle 1\n'), "the manifest is none of Telltale's, or of a version that this program does not know");
  const note = readNote(octets, 'the manifest'), lines = note.body.split('\n');
  const signed = note.signatures.map((s) => ` ${base64(Uint8Array.from([...s.id.match(/../g) ?? []].map((o) => parseInt(o, 16)).concat([...s.octets])))}\n`);
  need(signed.length === 1 && strict.decode(octets).endsWith(signed[0] ?? '') && octets.reduce((n, o) => n + (o === 10 ? 1 : 0), 0) === entryNames.length + 3, 'the manifest has too many lines or too few');
  for (let i = 0; i < entryNames.length - 1; i++) {
    const name = /** @type {string} */ (entryNames[i]), e = entry(entries, name), sum = new Sha256();
    let crc = 0;
    for (let at = 0; at < e.size; at += chunk) {
      const part = await data.read(e.offset + at, Math.min(chunk, e.size - at));
      sum.update(part);
      crc = crc32(part, crc);
      progress((e.offset + at + part.length) / data.size);
    }
    need(crc === e.crc && lines[i + 2] === `${hex(sum.digest())} ${e.size} ${name}`, `${name} was changed: it has another sum than the manifest says`);
  }
  return { origin: lines[1] ?? '', note };
}

/** A Reader reads an entry from its beginning, line by line or octet by octet. */
class Reader {
  #data; #at; #end;
  #have = new Uint8Array();
  /** @param {Source} data @param {Entry} e */
  constructor(data, e) { this.#data = data; this.#at = e.offset; this.#end = e.offset + e.size; }

  async #more() {
    const n = Math.min(chunk, this.#end - this.#at);
    if (n <= 0) return false;
    const part = await this.#data.read(this.#at, n);
    this.#at += n;
    if (this.#have.length === 0) this.#have = part;
    else {
      const both = new Uint8Array(this.#have.length + part.length);
      both.set(this.#have);
      both.set(part, this.#have.length);
      this.#have = both;
    }
    return true;
  }
  /** line returns the next line without its end, or undefined at the end. */
  async line() {
    for (let from = 0; ; ) {
      const n = this.#have.indexOf(10, from);
      need(n < maxText && (n >= 0 || this.#have.length < maxText), 'a line has no end, or is too long');
      if (n >= 0) {
        const line = this.#have.subarray(0, n);
        this.#have = this.#have.subarray(n + 1);
        return line;
      }
      from = this.#have.length;
      if (await this.#more()) continue;
      need(from === 0, 'a line has no end, or is too long');
      return undefined;
    }
  }
  /** @param {number} n octets, which are there */
  async octets(n) {
    while (this.#have.length < n && (await this.#more()));
    const out = this.#have.subarray(0, n);
    this.#have = this.#have.subarray(n);
    return out;
  }
}

const one = Uint8Array.of(1), zero = Uint8Array.of(0);

/** A Tree is the roots of the whole subtrees of what was added (RFC 9162). */
class Tree {
  size = 0;
  /** @type {Uint8Array[]} */
  #roots = []; // of 2^k leaves for each bit k of size, the largest first

  /** @param {Uint8Array} leaf */
  add(leaf) {
    let n = this.size++, root = leaf;
    for (; n % 2 === 1; n = (n - 1) / 2) root = sha256(one, /** @type {Uint8Array} */ (this.#roots.pop()), root);
    this.#roots.push(root);
  }
  root() {
    let root = this.#roots.at(-1) ?? sha256();
    for (let i = this.#roots.length - 2; i >= 0; i--) root = sha256(one, /** @type {Uint8Array} */ (this.#roots[i]), root);
    return root;
  }
}

/** @param {number} ms */
const when = (ms) => new Date(ms).toISOString();

/** @param {number} n @param {Map<string, Json>} row @param {string} column */
function csvField(n, row, column) {
  let value = column === 'leaf' ? String(n) : String(row.get(column) ?? '');
  if (column === 'first' || column === 'last') value = when(Number(row.get(column) ?? 0));
  if (column === 'type') value = types[Number(row.get('type') ?? 0)] ?? 'TYPE' + String(row.get('type') ?? 0);
  const s = value.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, '?');
  return '"' + (/^[ ']*[-=+@]/.test(s) ? "'" : '') + s.replaceAll('"', '""') + '"';
}

/** @param {Uint8Array} octets @param {string} what */
function readObject(octets, what) {
  /** @type {Json} */
  let value = null;
  try { value = parse(strict.decode(octets)); } catch { /* refused below */ }
  need(value instanceof Map, what + ' is not one JSON object');
  return value;
}

const whole = '(?:0|-?[1-9][0-9]{0,17})';
const member = new RegExp(`"([a-z_]+)":(?:(")|(${whole})|(?=(\\[)))`, 'y');
const escape = /\\(?:["\\]|u00[01][0-9a-f])/y;
const pair = new RegExp(`\\[(${whole}),(${whole})\\]`, 'y');

/**
 * readLine reads a line in the only form that lines have. All verifiers take the same ones, those of docs/verify/lines.json among them.
 * @param {Uint8Array} octets @param {string} what @returns {{ kind: string, line: Map<string, Json> }}
 */
export function readLine(octets, what) {
  let text = '', at = 1;
  try { text = strict.decode(octets); } catch { /* refused below */ }
  /** @param {RegExp} form */
  const next = (form) => {
    form.lastIndex = at;
    const m = form.exec(text);
    need(m, what + ' is not as lines of a log are written');
    at = form.lastIndex;
    return m;
  };
  /** @type {Map<string, Json>} */
  const line = new Map(), marks = /** @type {string[]} */ ([]);
  need(text.startsWith('{'), what + ' is not as lines of a log are written');
  do {
    const [, key = '', quote, number] = next(member);
    let quoted;
    if (quote !== undefined) {
      const begin = at - 1;
      at = endOfText(text, at, escape);
      need(at > 0, what + ' is not as lines of a log are written');
      quoted = text.slice(begin, at);
    }
    need(!line.has(key), what + ' has a key twice');
    if (quoted !== undefined) line.set(key, quoted.includes('\\') ? JSON.parse(quoted) : quoted.slice(1, -1));
    else if (number !== undefined) line.set(key, BigInt(number));
    else {
      let last;
      do {
        at++; // the [ or the comma
        const [, from = '', to = ''] = next(pair), first = BigInt(from);
        need((last === undefined || last < first) && first <= BigInt(to), what + ' has numbers that do not ascend');
        last = BigInt(to);
      } while (text[at] === ',');
      need(text[at++] === ']', what + ' is not as lines of a log are written');
      line.set(key, []); // nobody asks for them
    }
    marks.push(quoted !== undefined ? '' : number !== undefined ? '#' : '*');
  } while (text[at++] === ',');
  need(text[at - 1] === '}' && at === text.length, what + ' is not as lines of a log are written');
  const names = [...line.keys()], kind = names[0] ?? '', keys = lineKeys.get(kind);
  need(keys && line.get(kind) === 1n, what + ' is of a kind or version that this program does not know');
  let i = 0;
  for (const key of keys) { // those that are there come first, and none is empty
    const name = key.replace(/[#*]/, '');
    if (!line.has(name)) continue;
    need(names[i] === name && marks[i] === key.slice(name.length) && line.get(name) !== '' && line.get(name) !== 0n, what + ' has keys in another order, or values of another kind');
    i++;
  }
  return { kind, line };
}

/** A Log is the sealed log as a bundle shows it, read from its first leaf to its last. */
class Log {
  #data; #entries; #about; #compared;
  tree = new Tree();
  /** @type {{ key: Key, vouched: boolean, from: number }[]} */
  keys = [];
  /** @type {Checkpoint | undefined} */
  previous;
  /** @type {Record<string, number>} */
  counts = {};
  /** @type {Map<number, number>} */
  #claimed = new Map();
  #native = 0n;
  /** @type {Uint8Array | undefined} */
  root;
  rowsBefore = 0;
  first = 0;
  last = 0;
  /** @type {{ from: number, until: number }[]} */
  off = [];
  /** @type {Map<string, Reader>} */
  #files = new Map();
  #csv;

  /** @param {Source} data @param {Map<string, Entry>} entries @param {{ since: bigint, until: bigint, devices: Json[] }} about @param {number} compared */
  constructor(data, entries, about, compared) {
    this.#data = data;
    this.#entries = entries;
    this.#about = about;
    this.#compared = compared;
    for (const [kind, name] of Object.entries(shownIn)) this.#files.set(kind, new Reader(data, entry(entries, name)));
    this.#csv = new Reader(data, entry(entries, 'rows.csv'));
  }

  /** @param {(part: number) => void} progress */
  async read(progress) {
    const head = await this.#csv.line();
    need(head && latin1(head) === columns.join(','), 'rows.csv does not begin with its columns');
    const account = new Reader(this.#data, entry(this.#entries, 'leaves.txt'));
    const leaves = new Reader(this.#data, entry(this.#entries, 'leaves.bin')), size = entry(this.#entries, 'leaves.bin').size;
    for (let line = await account.line(); line; line = await account.line()) {
      const m = /^(0|[1-9][0-9]{0,14}) ([1-9][0-9]{0,14}) (row|ledger|statement|outside|withheld|deleted ([1-9][0-9]{0,14}))$/.exec(latin1(line));
      need(m && Number(m[1]) === this.tree.size, 'leaves.txt does not go on where it was');
      const what = (m[3] ?? '').split(' ')[0] ?? '', count = Number(m[2]), removal = Number(m[4]);
      need((this.tree.size + count) * 32 <= size, 'leaves.txt says of more leaves than there are');
      this.counts[what] = (this.counts[what] ?? 0) + count;
      if (m[4]) {
        need(removal >= this.tree.size + count, 'leaves are said to be deleted before they were written');
        this.#claimed.set(removal, (this.#claimed.get(removal) ?? 0) + count);
        need(this.#claimed.size <= maxClaims, 'leaves.txt names more deletions than there can be');
      }
      for (let i = 0; i < count; i++) {
        const leaf = (await leaves.octets(32)).slice();
        if (what in shownIn) await this.#shown(this.tree.size, leaf, what);
        this.tree.add(leaf);
        if (this.tree.size === this.#compared) [this.root, this.rowsBefore] = [this.tree.root(), (this.counts.row ?? 0) - (what === 'row' ? count - 1 - i : 0)];
        if (this.tree.size % 4096 === 0) progress((this.tree.size * 32) / size);
      }
    }
    need(this.tree.size * 32 === size, 'leaves.txt says of fewer leaves than there are');
    for (const [kind, rest] of [...this.#files, /** @type {[string, Reader]} */ (['row', this.#csv])])
      need((await rest.line()) === undefined, `there are lines of kind ${kind} that are no leaves: added, doubled or moved`);
    need(this.#claimed.size === 0, 'leaves are said to be deleted by leaves which are no removals');
  }

  /** @param {number} n @param {Uint8Array} leaf @param {string} kind */
  async #shown(n, leaf, kind) {
    const file = shownIn[kind], text = (await /** @type {Reader} */ (this.#files.get(kind)).line()) ?? new Uint8Array();
    const comma = text.indexOf(44), open = comma + 82; // behind ,"salt":"…64 digits…","line":
    const m = comma < 0 ? null : /^\{"leaf":(0|[1-9][0-9]{0,14}),"salt":"([0-9a-f]{64})","line":$/.exec(latin1(text.subarray(0, open)));
    need(m && Number(m[1]) === n && text[open] === 123 && text.at(-1) === 125 && text.at(-2) === 125 && text.length > open + 2,
      `leaf ${n} is not in ${file}, or not at its place: a line was removed, doubled or moved`);
    const octets = text.subarray(open, text.length - 1), salt = Uint8Array.from({ length: 32 }, (_, i) => parseInt((m[2] ?? '').slice(2 * i, 2 * i + 2), 16));
    need(equal(sha256(zero, salt, octets), leaf), `leaf ${n} is not what was sealed: the line in ${file} was changed`);
    const { kind: first, line } = readLine(octets, `leaf ${n}`);
    need((first === 'row' || first === 'ledger' ? first : 'statement') === kind, `leaf ${n} is of another kind than ${file} is of`);
    need(n > 0 || first === 'start', 'the log does not begin with its start');
    if (kind === 'row') await this.#row(n, line);
    else if (kind === 'statement') this.#statement(n, first, line, salt);
  }

  /** @param {number} n @param {Map<string, Json>} line */
  async #row(n, line) {
    const first = line.get('first'), last = line.get('last') ?? 0n, id = line.get('id') ?? 0n, type = line.get('type') ?? 0n;
    need(typeof first === 'bigint' && typeof last === 'bigint' && typeof id === 'bigint' && typeof type === 'bigint', `leaf ${n} has a text where a number must be`);
    need(this.#about.since <= first && first < this.#about.until, `leaf ${n} is not of the bundle's period`);
    need(0n < id && id < 1n << 53n, `leaf ${n} has a number that cannot be`);
    if ((line.get('imported') ?? '') === '') {
      need(id > this.#native, `leaf ${n}: row ${id} was put in later, for rows are sealed in the order of their numbers, which were at ${this.#native}`);
      this.#native = id;
    }
    need(0n < first && first < BigInt(maxTime) && 0n <= last && last < BigInt(maxTime), `leaf ${n} has times that cannot be`);
    need(this.#about.devices.length === 0 || this.#about.devices.includes(line.get('device') ?? ''), `leaf ${n} is of another device`);
    const got = await this.#csv.line();
    let text = '';
    try { text = got ? strict.decode(got) : ''; } catch { /* refused below */ }
    need(got && text === columns.map((c) => csvField(n, line, c)).join(','), `rows.csv is not what rows.jsonl says at leaf ${n}`);
    this.first = Math.min(this.first || Number(first), Number(first));
    this.last = Math.max(this.last, Number(last));
  }

  /** @param {number} n @param {string} kind @param {Map<string, Json>} line @param {Uint8Array} salt */
  #statement(n, kind, line, salt) {
    need(salt.every((o) => o === 0), `leaf ${n} is a statement and has a salt`);
    const time = line.has('time') ? line.get('time') : 0n; // null is no number
    need(typeof time === 'bigint' && 0n <= time && time < BigInt(maxTime), `leaf ${n} has a time that cannot be`);
    if (kind === 'end') this.off.push({ from: Number(time), until: 0 });
    const off = this.off.at(-1);
    if (kind === 'start' && off) off.until ||= Number(time);
    if (kind === 'start' || kind === 'end') {
      const from = line.has('from') ? line.get('from') : 0n;
      need(typeof from === 'bigint', `leaf ${n} has a text where a number must be`);
      if (from - 1n > this.#native) this.#native = from - 1n;
    }
    need(this.off.length <= maxOff && this.keys.length <= maxOff, `leaf ${n}: sealing was switched off, or keys took over, more often than can be`);
    if (kind === 'removal') {
      const count = line.has('count') ? line.get('count') : 0n;
      need(typeof count === 'bigint' && BigInt(this.#claimed.get(n) ?? 0) <= count, `more leaves are said to be deleted by leaf ${n} than it is a removal of`);
      this.#claimed.delete(n);
    } else if (kind === 'start' && n === 0 && line.has('previous')) {
      const previous = line.get('previous');
      need(typeof previous === 'string', "the checkpoint before the log's start is no text");
      this.previous = readCheckpoint(utf8.encode(previous), "the checkpoint before the log's start");
    } else if (kind === 'handover') {
      const text = line.get('note');
      need(typeof text === 'string', `leaf ${n} is no hand-over`);
      this.#handover(n, text);
    }
  }

  /** @param {number} n @param {string} text */
  #handover(n, text) {
    const note = readNote(utf8.encode(text), 'a hand-over'), lines = note.body.split('\n');
    need(lines.length === 6 && lines[0] === 'telltale hand-over 1', `leaf ${n} is no hand-over`);
    const before = readKey(lines[1] ?? ''), after = readKey(lines[2] ?? '');
    const [size, root] = n === 1 && this.previous ? [this.previous.size, this.previous.root] : [n, this.tree.root()];
    need(lines[3] === String(size) && lines[4] === base64(root), `the hand-over at leaf ${n} is of another log, or of another place`);
    need(isBy(note, after), `the hand-over at leaf ${n} is not signed by the key that takes over`);
    const signer = this.keys.at(-1);
    need(!signer || isSame(signer.key, before), `the hand-over at leaf ${n} is from a key that did not sign then`);
    if (!signer) this.keys.push({ key: before, vouched: false, from: -1 });
    this.keys.push({ key: after, vouched: isBy(note, before), from: n });
  }
}

/** The keys of about.json and their values' kinds, before "clock" and "coverage". */
const aboutKeys = 'bundle:bigint program:string made:bigint since:bigint until:bigint device:string devices:object redacted:boolean settings_sha256:string'.split(' ');
/** @param {Map<string, Json>} about */
const isAbout = (about) => [...about.keys()].slice(aboutKeys.length).join() === 'clock,coverage' && aboutKeys.every((key, i) => [...about].slice(i, i + 1).every(([k, v]) => `${k}:${typeof v}` === key));

/**
 * verify returns what is known of a bundle, or throws Bad. key is the log's key as text, checkpoint an earlier one of it.
 * @param {Source} data @param {{ key?: string, checkpoint?: Uint8Array }} trust @param {(part: number) => void} progress how much is done, of 1
 * @returns {Promise<Result>}
 */
export async function verify(data, trust = {}, progress = () => {}) {
  const entries = await openZip(data);
  const manifest = await checkManifest(data, entries, (part) => progress(part / 2));
  const own = readKey(latin1(await short(data, entry(entries, 'key.txt'))).replace(/\n$/, '')), head = readCheckpoint(await short(data, entry(entries, 'checkpoint.txt')), 'its checkpoint');
  need(manifest.origin === head.origin && head.origin === own.name, 'manifest, checkpoint and key are not of one log');
  need(isBy(manifest.note, own) && isBy(head.note, own), "its manifest or its checkpoint is not signed by the log's key");
  const text = await short(data, entry(entries, 'about.json')), about = readObject(text, 'about.json'), since = about.get('since'), until = about.get('until'), made = about.get('made'), devices = about.get('devices');
  need(typeof since === 'bigint' && typeof until === 'bigint' && typeof made === 'bigint' && Array.isArray(devices) && devices.every((d) => typeof d === 'string') && isAbout(about) && equal(text, utf8.encode(format(about) + '\n')), 'about.json is not as Telltale writes it');
  const given = trust.checkpoint && readCheckpoint(trust.checkpoint, 'the checkpoint that you gave');
  need(!given || (0 < given.size && given.size <= head.size), 'the checkpoint that you gave is later than the bundle, or of an empty log: give an earlier one, or ask for a new bundle');
  const log = new Log(data, entries, { since, until, devices }, given?.size ?? 0);
  await log.read((part) => progress((1 + part) / 2));
  need(log.tree.size === head.size && equal(log.tree.root(), head.root), 'the leaves are not those that its checkpoint is of');
  const keys = log.keys.length ? log.keys : [{ key: own, vouched: false, from: -1 }], signer = keys.at(-1);
  need(signer && isSame(signer.key, own), 'its key is not the one that took over last');
  const trusted = [];
  if (trust.key !== undefined) {
    const known = readKey(trust.key.trim()), at = keys.findLastIndex((k) => isSame(k.key, known)); // a key that was lost and put back signs twice
    need(at >= 0, 'it is not signed by the key that you gave, nor by one that took over from it: it is of another log, or somebody else made it');
    trusted.push(at);
  }
  if (given) {
    need(log.root && equal(log.root, given.root), `the checkpoint that you gave is of another log: its ${given.size} leaves are not the bundle's first ones`);
    const at = keys.findIndex((k, i) => k.from < given.size && given.size <= (keys[i + 1]?.from ?? head.size) && isBy(given.note, k.key));
    need(at >= 0, 'the checkpoint that you gave is not signed by the key that the log had then');
    trusted.push(at);
  }
  for (const k of trusted.length ? keys.slice(Math.min(...trusted) + 1) : [])
    need(k.vouched, `at leaf ${k.from} another key took over without a signature by the one before: nobody vouches for it to who trusts that one`);
  progress(1);
  return {
    known: trusted.length > 0, counts: log.counts, first: log.first, last: log.last, made: Number(made), off: log.off, leaves: head.size, key: own.text, since: Number(since), until: Number(until),
    devices, given: given?.size ?? 0, rowsBefore: log.rowsBefore, handovers: keys.length - 1,
  };
}
