// @ts-check
// A client of the API whose types are made of its document by openapi-typescript: it walks the
// log to its end. 'npm run check' checks it against the document, and
// TestAClientMadeOfTheDocumentWalksTheLog runs it:
//
//	node client.mjs http://192.168.1.2:5380 TOKEN [ROWS OF A PAGE]

/** @typedef {import('../src/lib/openapi').paths} Paths */

/**
 * Which parameters GET takes at a path.
 * @template {keyof Paths} P
 * @typedef {Paths[P] extends { get: { parameters: { query?: infer Q } } } ? Q : never} Query
 */

/**
 * What GET answers at a path.
 * @template {keyof Paths} P
 * @typedef {Paths[P] extends { get: { responses: { 200: { content: { 'application/json': infer A } } } } } ? A : never} Answer
 */

const [, , server, token, size = '100'] = process.argv;

/**
 * @template {keyof Paths} P
 * @param {P} path
 * @param {Query<P>} [query]
 * @returns {Promise<Answer<P>>}
 */
async function get(path, query) {
  const url = new URL(path, server);
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) url.searchParams.set(name, String(value));
  const reply = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
  if (!reply.ok) throw new Error(`${url}: ${reply.status} ${await reply.text()}`);
  return reply.json();
}

const status = await get('/api/v1/status');
/** @type {number[]} */
const ids = [];
let cursor = '';
for (let more = true; more; ) {
  const page = await get('/api/v1/log', { order: 'oldest', limit: Number(size), cursor });
  for (const row of page.rows ?? []) {
    if (typeof row.name !== 'string' || Number.isNaN(Date.parse(row.time))) throw new Error(`no row: ${JSON.stringify(row)}`);
    ids.push(row.id);
  }
  ({ more, next: cursor = '' } = page);
}
console.log(JSON.stringify({ version: status.version, ids }));
