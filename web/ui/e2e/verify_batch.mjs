// What the tests of package bundle run: the console's verifier outside a browser. On each line of
// its input is a JSON object with the path of a bundle, bits to flip, a key and a checkpoint, or with the octets of a line of a log,
// and it answers each with a line, as docs/verify/test_verify.py --batch does.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { isBy, readCheckpoint, readKey, readLine, verify } from '../src/lib/bundle/verify.js';

let path = '', kept = new Uint8Array();
for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  if (job.line !== undefined) {
    console.log(await Promise.resolve().then(() => readLine(new Uint8Array(Buffer.from(job.line, 'base64')), 'the line')).then(() => 'verified', (error) => 'no: ' + error.message));
    continue;
  }
  if (job.note !== undefined) {
    console.log(await Promise.resolve().then(() => isBy(readCheckpoint(new Uint8Array(Buffer.from(job.note, 'base64')), 'the note').note, readKey(job.key)))
      .then((by) => (by ? 'signed' : 'not signed'), (error) => 'no: ' + String(error.message).replace(/\s+/g, ' ')));
    continue;
  }
  if (job.path !== path) {
    path = job.path;
    kept = new Uint8Array(readFileSync(path));
  }
  const data = job.bits ? kept.slice() : kept;
  for (const i of job.bits ?? []) data[i >> 3] ^= 1 << (i & 7);
  const source = { size: data.length, read: async (offset, length) => data.slice(offset, offset + length) };
  const trust = { key: job.key || undefined, checkpoint: job.checkpoint ? new Uint8Array(Buffer.from(job.checkpoint, 'base64')) : undefined };
  console.log(await verify(source, trust).then((r) => `verified, ${r.rowsBefore} rows before`, (error) => 'no: ' + String(error.message).replace(/\s+/g, ' ')));
}
