// Replaces what vite built by gzip files: they are embedded in the server as they are and
// sent as they are, so that nothing is compressed while it runs. gzip, since browsers take
// brotli over TLS alone.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const most = 400_000; // octets of all files together
let sum = 0;
for (const name of readdirSync('dist', { recursive: true })) {
  const path = join('dist', name);
  if (!statSync(path).isFile() || path.endsWith('.gz')) continue;
  const small = gzipSync(readFileSync(path), { level: 9 });
  small[9] = 255; // which system wrote it is nobody's business: builds are equal everywhere
  writeFileSync(path + '.gz', small);
  rmSync(path);
  sum += small.length;
}
console.log(`dist: ${sum} octets compressed`);
if (sum > most) {
  console.error(`dist: more than ${most} octets: the first load would be too slow`);
  process.exit(1);
}
