// @ts-check
// JSON as it is in bundles: whole numbers of any size stay whole, and an object that has a key
// twice is an error. JSON.parse does neither.

/** @typedef {string | bigint | number | boolean | null | any[] | Map<string, any>} Json */

const token = /[ \t\r\n]*(?:("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)|(true|false|null)|([{}[\],:]))/y;
const deepest = 32;

/** @param {string} text @returns {Json} */
export function parse(text) {
  let at = 0;
  /** @returns {RegExpExecArray} */
  function next() {
    token.lastIndex = at;
    const m = token.exec(text);
    if (!m) throw new SyntaxError('no JSON at ' + at);
    at = token.lastIndex;
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
