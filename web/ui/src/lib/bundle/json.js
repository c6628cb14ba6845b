// @ts-check
// JSON as it is in bundles: whole numbers of any size stay whole, and an object that has a key
// twice is an error. JSON.parse does neither.

/** @typedef {string | bigint | number | boolean | null | any[] | Map<string, any>} Json */

const token = /[ \t\r\n]*(?:(")|(-?(?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)|(true|false|null)|([{}[\],:]))/y;
const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const deepest = 32;

/**
 * endOfText returns where a text ends that begins behind a quote at from, or -1 where it is none. A regular expression
 * of all of it would need as much stack as a text of a line has escapes.
 * @param {string} text @param {number} from @param {RegExp} escape what is allowed from a \ on: a sticky one
 */
export function endOfText(text, from, escape) {
  for (let at = from; ; at++) {
    const code = text.charCodeAt(at); // NaN at the end
    if (code === 34) return at + 1;
    if (!(code >= 32)) return -1;
    if (code !== 92) continue;
    escape.lastIndex = at;
    if (!escape.test(text)) return -1;
    at = escape.lastIndex - 1;
  }
}

/** @param {string} text @returns {Json} */
export function parse(text) {
  let at = 0;
  /** @returns {RegExpExecArray} */
  function next() {
    token.lastIndex = at;
    const m = token.exec(text);
    if (!m) throw new SyntaxError('no JSON at ' + at);
    at = token.lastIndex;
    if (m[1] !== undefined) {
      const begin = at - 1;
      at = endOfText(text, at, escape);
      if (at < 0) throw new SyntaxError('no text at ' + begin);
      m[1] = text.slice(begin, at);
    }
    return m;
  }
  /** @param {RegExpExecArray} m @param {number} depth @returns {Json} */
  function value(m, depth) {
    const [, quoted, whole, rest, word, mark] = m;
    if (quoted !== undefined) return quoted.includes('\\') ? JSON.parse(quoted) : quoted.slice(1, -1);
    if (whole !== undefined) return rest === '' ? BigInt(whole) : Number(whole + rest);
    if (word !== undefined) return word === 'null' ? null : word === 'true';
    if (depth > deepest) throw new SyntaxError('too deep');
    if (mark === '[') {
      /** @type {Json[]} */
      const all = [];
      let one = next();
      if (one[5] === ']') return all;
      for (;;) {
        all.push(value(one, depth + 1));
        const end = next()[5];
        if (end === ']') return all;
        if (end !== ',') throw new SyntaxError('no list');
        one = next();
      }
    }
    if (mark !== '{') throw new SyntaxError('no value');
    /** @type {Map<string, Json>} */
    const object = new Map();
    let key = next();
    if (key[5] === '}') return object;
    for (;;) {
      if (key[1] === undefined) throw new SyntaxError('no key');
      const name = /** @type {string} */ (value(key, depth));
      if (next()[5] !== ':' || object.has(name)) throw new SyntaxError('no object, or one with a key twice');
      object.set(name, value(next(), depth + 1));
      const end = next()[5];
      if (end === '}') return object;
      if (end !== ',') throw new SyntaxError('no object');
      key = next();
    }
  }
  const all = value(next(), 0);
  if (!/^[ \t\r\n]*$/.test(text.slice(at))) throw new SyntaxError('more than one value');
  return all;
}

/** @param {string} s as Go writes it: what is no text (half of a pair) comes out otherwise than it was */
const quoted = (s) => JSON.stringify(s.replace(/\p{Surrogate}/gu, '\ufffd')).replace(/[<>&\u2028\u2029]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));

/** format writes a value in the form that about.json has: that of Go's json.MarshalIndent. @param {Json} value @param {string} indent @returns {string} */
export function format(value, indent = '') {
  const deeper = indent + '  ', isObject = value instanceof Map;
  if (!isObject && !Array.isArray(value)) return typeof value === 'string' ? quoted(value) : String(value);
  const lines = isObject ? Array.from(value, ([key, v]) => quoted(key) + ': ' + format(v, deeper)) : value.map((v) => format(v, deeper));
  const [open, close] = isObject ? ['{', '}'] : ['[', ']'];
  return lines.length ? `${open}\n${deeper}${lines.join(',\n' + deeper)}\n${indent}${close}` : open + close;
}
