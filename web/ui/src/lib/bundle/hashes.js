// @ts-check
// SHA-256, SHA-512, CRC-32 and the check of Ed25519 signatures, for verifying bundles. Browsers
// have crypto.subtle on encrypted pages alone, and a home's console is mostly http://; besides,
// the verdict on a bundle may not depend on the browser. Nothing here is secret.

/** @param {bigint} n @param {bigint} k the k-th root of n, rounded down */
function root(n, k) {
  let x = 1n << BigInt(Math.ceil(n.toString(2).length / Number(k)));
  for (;;) {
    const y = ((k - 1n) * x + n / x ** (k - 1n)) / k;
    if (y >= x) return x;
    x = y;
  }
}

/** @param {number} count */
function primes(count) {
  /** @type {bigint[]} */
  const all = [];
  for (let n = 2n; all.length < count; n++) if (all.every((p) => n % p !== 0n)) all.push(n);
  return all;
}

// Both hashes begin with, and add, the first bits behind the point of roots of primes (FIPS 180-4, 4.2 and 5.3).
const mask64 = (1n << 64n) - 1n;
const first = primes(80);
const start64 = first.slice(0, 8).map((p) => root(p << 128n, 2n) & mask64);
const added64 = first.map((p) => root(p << 192n, 3n) & mask64);
const start32 = Int32Array.from(start64, (n) => Number(n >> 32n) | 0);
const added32 = /** @type {any} */ (Int32Array.from(added64.slice(0, 64), (n) => Number(n >> 32n) | 0));

const words = /** @type {any} */ (new Int32Array(64));

/** Sha256 hashes octets that come in parts. */
export class Sha256 {
  #state = new Int32Array(start32);
  #block = new Uint8Array(64);
  #have = 0;
  #length = 0;

  /** @param {Uint8Array} octets */
  update(octets) {
    this.#length += octets.length;
    let at = 0;
    if (this.#have > 0) {
      const n = Math.min(64 - this.#have, octets.length);
      this.#block.set(octets.subarray(0, n), this.#have);
      this.#have += n;
      at = n;
      if (this.#have < 64) return this;
      this.#compress(this.#block, 0);
      this.#have = 0;
    }
    for (; at + 64 <= octets.length; at += 64) this.#compress(octets, at);
    this.#block.set(octets.subarray(at), 0);
    this.#have = octets.length - at;
    return this;
  }

  digest() {
    const length = this.#length, end = new Uint8Array(this.#have < 56 ? 64 - this.#have : 128 - this.#have);
    end[0] = 0x80;
    const view = new DataView(end.buffer);
    view.setUint32(end.length - 8, Math.floor(length / 2 ** 29));
    view.setUint32(end.length - 4, (length << 3) >>> 0);
    this.update(end);
    const out = new DataView(new ArrayBuffer(32));
    this.#state.forEach((n, i) => out.setInt32(4 * i, n));
    return new Uint8Array(out.buffer);
  }

  /** @param {any} b octets @param {number} at */
  #compress(b, at) {
    const w = words, s = /** @type {any} */ (this.#state), k = added32;
    for (let i = 0; i < 16; i++, at += 4) w[i] = (b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3];
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      const p = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const q = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16] + p + w[i - 7] + q) | 0;
    }
    let a = s[0], b2 = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (let i = 0; i < 64; i++) {
      const t1 = (h + (((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))) + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
      const t2 = ((((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))) + ((a & b2) ^ (a & c) ^ (b2 & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b2; b2 = a; a = (t1 + t2) | 0;
    }
    s[0] += a; s[1] += b2; s[2] += c; s[3] += d; s[4] += e; s[5] += f; s[6] += g; s[7] += h;
  }
}

/** @param {...Uint8Array} parts */
export function sha256(...parts) {
  const h = new Sha256();
  for (const p of parts) h.update(p);
  return h.digest();
}

/** @param {Uint8Array} octets @returns {bigint} the hash as a number, its first octet the lowest */
function sha512(octets) {
  const padded = new Uint8Array((Math.floor((octets.length + 16) / 128) + 1) * 128);
  padded.set(octets);
  padded[octets.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(octets.length) * 8n);
  let state = start64;
  /** @param {bigint} x @param {bigint} n */
  const turned = (x, n) => (x >> n) | ((x << (64n - n)) & mask64);
  for (let at = 0; at < padded.length; at += 128) {
    /** @type {bigint[]} */
    const w = [];
    for (let i = 0; i < 16; i++) w.push(view.getBigUint64(at + 8 * i));
    for (let i = 16; i < 80; i++) {
      const x = w[i - 15] ?? 0n, y = w[i - 2] ?? 0n;
      w.push(((w[i - 16] ?? 0n) + (turned(x, 1n) ^ turned(x, 8n) ^ (x >> 7n)) + (w[i - 7] ?? 0n) + (turned(y, 19n) ^ turned(y, 61n) ^ (y >> 6n))) & mask64);
    }
    let [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n, g = 0n, h = 0n] = state;
    for (let i = 0; i < 80; i++) {
      const t1 = h + (turned(e, 14n) ^ turned(e, 18n) ^ turned(e, 41n)) + ((e & f) ^ ((e ^ mask64) & g)) + (added64[i] ?? 0n) + (w[i] ?? 0n);
      const t2 = (turned(a, 28n) ^ turned(a, 34n) ^ turned(a, 39n)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g; g = f; f = e; e = (d + t1) & mask64; d = c; c = b; b = a; a = (t1 + t2) & mask64;
    }
    state = [a, b, c, d, e, f, g, h].map((n, i) => (n + (state[i] ?? 0n)) & mask64);
  }
  const out = new DataView(new ArrayBuffer(64));
  state.forEach((n, i) => out.setBigUint64(8 * i, n));
  return number(new Uint8Array(out.buffer));
}

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** crc32 goes on from the sum of what came before. @param {Uint8Array} octets @param {number} sum */
export function crc32(octets, sum = 0) {
  let c = ~sum;
  for (let i = 0; i < octets.length; i++) c = (c >>> 8) ^ /** @type {number} */ (table[(c ^ /** @type {number} */ (octets[i])) & 255]);
  return ~c >>> 0;
}

/** number reads octets as a number, the lowest first. @param {Uint8Array} octets */
function number(octets) {
  let text = '0x0';
  for (let i = octets.length - 1; i >= 0; i--) text += (octets[i] ?? 0).toString(16).padStart(2, '0');
  return BigInt(text);
}

// Ed25519 (RFC 8032, 5.1), points in extended coordinates.
const P = 2n ** 255n - 19n, L = 2n ** 252n + 27742317777372353535851937790883648493n;
/** @param {bigint} n */
const mod = (n) => { const r = n % P; return r < 0n ? r + P : r; };
/** @param {bigint} n @param {bigint} e */
function power(n, e) {
  let out = 1n;
  for (n = mod(n); e > 0n; e >>= 1n, n = (n * n) % P) if (e & 1n) out = (out * n) % P;
  return out;
}
const D = mod(-121665n * power(121666n, P - 2n));
/** @typedef {[bigint, bigint, bigint, bigint]} Point */

/** @param {Uint8Array} octets @returns {Point | undefined} */
function point(octets) {
  const n = number(octets), sign = n >> 255n, y = n & (2n ** 255n - 1n);
  const xx = mod((y * y - 1n) * power(D * y * y + 1n, P - 2n));
  let x = power(xx, (P + 3n) / 8n);
  if ((x * x) % P !== xx) x = mod(x * power(2n, (P - 1n) / 4n));
  if (y >= P || (x * x) % P !== xx || (x === 0n && sign)) return undefined;
  if ((x & 1n) !== sign) x = P - x;
  return [x, y, 1n, mod(x * y)];
}
/** @param {Point} p @param {Point} q @returns {Point} */
function add(p, q) {
  const a = (p[1] - p[0]) * (q[1] - q[0]) % P, b = (p[1] + p[0]) * (q[1] + q[0]) % P, c = 2n * p[3] * q[3] % P * D % P, d = 2n * p[2] * q[2] % P;
  const e = b - a, f = d - c, g = d + c, h = b + a;
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}
/** @param {bigint} n @param {Point} p @returns {Point} */
function multiply(n, p) {
  /** @type {Point} */
  let q = [0n, 1n, 1n, 0n];
  for (; n > 0n; n >>= 1n, p = add(p, p)) if (n & 1n) q = add(q, p);
  return q;
}
/** @type {Point | undefined} */
let base;

/** isSigned reports whether a key of 32 octets has signed a message. @param {Uint8Array} key @param {Uint8Array} message @param {Uint8Array} signature */
export function isSigned(key, message, signature) {
  if (!base) {
    const y = new Uint8Array(32).fill(0x66); // 4/5
    y[0] = 0x58;
    base = point(y);
  }
  const s = number(signature.subarray(32)), a = point(key);
  if (s >= L || !a || !base || signature.length !== 64) return false;
  const all = new Uint8Array(64 + message.length);
  all.set(signature.subarray(0, 32));
  all.set(key, 32);
  all.set(message, 64);
  const [x, y, z] = add(multiply(s, base), multiply(sha512(all) % L, [mod(-a[0]), a[1], 1n, mod(-a[3])]));
  const inverse = power(z, P - 2n);
  return number(signature.subarray(0, 32)) === (mod(y * inverse) | ((mod(x * inverse) & 1n) << 255n));
}
