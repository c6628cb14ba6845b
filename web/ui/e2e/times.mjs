// Measures the console over a log at size: started by TestE2EConsoleAtSize, which says in the file CONSOLE
// (JSON) where the server is, and its process. It prints a line for each page.
import { readFileSync, readdirSync } from 'node:fs';
import { chromium } from 'playwright-core';

const { link, pid, period, chrome, pages, rounds } = JSON.parse(readFileSync(process.env.CONSOLE, 'utf8'));
const base = link.replace(/#.*$/, '');

/** used is the processor time of the server so far, in milliseconds. */
function used() {
  let sum = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) try { sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]); } catch { /* it ended */ }
  return sum / 1e6;
}
const median = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)];

const browser = await chromium.launch({ executablePath: chrome, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC' });
const page = await context.newPage();
page.setDefaultTimeout(120_000);
await page.goto(link);
await page.getByLabel('Name').fill('maria');
await page.getByLabel('Choose a pass phrase').fill('seven quiet lamps in a row');
await page.getByLabel('The same again').fill('seven quiet lamps in a row');
await page.keyboard.press('Enter');
await page.waitForSelector('nav#nav');
const settled = () => page.waitForFunction(() => document.querySelector('h1') && !document.querySelector('.waiting, [aria-busy="true"]'));
await settled();

// Each page is loaded as from a bookmark: the program, the session, the data.
const q = new URLSearchParams(period).toString();
for (const [name, hash] of pages) {
  const paints = [], whole = [], cpu = [], routes = new Map();
  for (let n = 0; n < rounds; n++) {
    await page.goto('about:blank');
    const before = used();
    await page.goto(`${base}${hash}${hash.includes('?') ? '&' : '?'}${q}`, { waitUntil: 'load' });
    await settled();
    cpu.push(used() - before);
    const seen = await page.evaluate(() => ({
      paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN, now: performance.now(),
      asked: performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/')).map((e) => [e.name.replace(/^.*\/api\/v1\//, '').replace(/\?.*$/, ''), e.responseEnd - e.requestStart]),
    }));
    paints.push(seen.paint);
    whole.push(seen.now);
    for (const [route, took] of seen.asked) routes.set(route, [...(routes.get(route) ?? []), took]);
  }
  console.log(`PAGE ${name}: first paint ${median(paints).toFixed(0)} ms, whole ${median(whole).toFixed(0)} ms, server's CPU ${median(cpu).toFixed(0)} ms (${[...routes].map(([r, all]) => `${r} ${median(all).toFixed(0)} ms`).join(', ')})`);
}

// A page that is only open: what it costs the server.
const from = used(), begun = Date.now();
await new Promise((done) => setTimeout(done, 60_000));
console.log(`IDLE ${(100 * (used() - from) / (Date.now() - begun)).toFixed(2)} % of a core`);
await browser.close();
