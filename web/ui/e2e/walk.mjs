// Walks the console of a running server in Debian's Chromium. Started by TestE2EConsole, which
// says by CONSOLE (JSON) where the server is. It prints a line for each thing that is wrong,
// and then how much was looked at.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { Resolver } from 'node:dns/promises';
import { chromium } from 'playwright-core';

const { link, dns, period, shots, chrome, all } = JSON.parse(process.env.CONSOLE);
const base = link.replace(/#.*$/, '');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const patience = 60_000; // for what the server does; a page waits for conditions, not for time

let wrong = 0, looked = 0;
const fault = (text) => { wrong++; console.log('WRONG ' + text); };

const browser = await chromium.launch({ executablePath: chrome, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', bypassCSP: false });
context.setDefaultTimeout(patience);
const page = await context.newPage();
let at = 'start', expected = [];
page.on('console', (m) => {
  if (m.type() !== 'error' && m.type() !== 'warning') return;
  if (expected.some((e) => m.text().includes(e))) return;
  fault(`${at}: the console of the browser says ${m.type()}: ${m.text()} ${m.location().url}`);
});
page.on('pageerror', (e) => fault(`${at}: ${e.message}`));
page.on('request', (r) => { if (!r.url().startsWith(base) && !r.url().startsWith('data:')) fault(`${at}: asks ${r.url()}`); });
page.on('dialog', (d) => { fault(`${at}: a script of a stranger ran: ${d.message()}`); d.dismiss(); });

async function settled() {
  await page.waitForFunction(() => document.querySelector('h1') && !document.querySelector('.waiting, [aria-busy="true"]'), undefined, { timeout: patience });
}

// axe by an isolated world: the policy of the page allows no script of ours in it.
async function check(what, byAxe = true) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wide > 1) fault(`${what}: ${wide} pixels wider than the window`);
  if (!byAxe) return;
  const cdp = await context.newCDPSession(page);
  try {
    const { frameTree } = await cdp.send('Page.getFrameTree');
    const { executionContextId: contextId } = await cdp.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id, worldName: 'axe' });
    const run = async (expression) => {
      const { result, exceptionDetails } = await cdp.send('Runtime.evaluate', { expression, contextId, awaitPromise: true, returnByValue: true });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    };
    await run(axe + '; 0');
    const found = await run(`axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], resultTypes: ['violations'] })
      .then((r) => r.violations.map((v) => v.id + ': ' + v.help + ' at ' + v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join(' | ')))`);
    looked++;
    for (const f of found) fault(`${what}: axe: ${f}`);
  } finally { await cdp.detach(); }
}

const sizes = [[390, 800], [820, 1000], [1440, 900]];
async function everywhere(name) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const [width, height] of sizes) {
      await page.setViewportSize({ width, height });
      await page.waitForFunction((w) => innerWidth === w, width);
      await check(`${name} (${colorScheme}, ${width})`, all || (colorScheme === 'light' ? width !== 820 : width === 1440));
      if (shots) await page.screenshot({ path: `${shots}/${name.replace(/[^a-z]+/gi, '-')}-${colorScheme}-${width}.png`, fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1440, height: 900 });
}

async function open(hash) {
  at = hash;
  await page.evaluate((h) => { location.hash = h; }, hash);
  await page.waitForFunction((h) => location.hash === h, hash);
  await settled();
}

// Keyboard alone, once through: set up, log out, log in.
at = 'set-up';
await page.goto(link, { waitUntil: 'domcontentloaded' });
await settled();
await everywhere('set-up');
const passphrase = 'seven quiet lamps in a row';
async function type(label, text) {
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press('Tab');
    const is = await page.evaluate(() => document.activeElement?.labels?.[0]?.textContent?.trim() ?? '');
    if (is.startsWith(label)) {
      await page.keyboard.press('ControlOrMeta+a');
      await page.keyboard.type(text);
      return;
    }
  }
  fault(`${at}: the keyboard does not reach ${label}`);
}
await page.waitForFunction(() => document.querySelector('input[type=password]'));
await type('Name', 'anna');
await type('Choose a pass phrase', passphrase);
await type('The same again', passphrase);
await page.keyboard.press('Enter');
await page.waitForSelector('nav#nav');
await settled();
at = 'log-out';
await page.getByRole('button', { name: 'Log out' }).press('Enter');
await page.waitForSelector('input[type=password]');
at = 'log-in';
await everywhere('log-in');
expected = ['401'];
await page.locator('h1').focus();
await type('Name', 'anna');
await type('Pass phrase', 'not this one at all');
await page.keyboard.press('Enter');
await page.waitForSelector('[role=alert]');
await type('Pass phrase', passphrase).catch(() => {});
await page.locator('input[type=password]').fill(passphrase);
await page.keyboard.press('Enter');
await page.waitForSelector('nav#nav');
expected = [];
await settled();

// Every page at three widths, light and dark.
const q = new URLSearchParams(period).toString();
const pages = [
  ['overview', `#/?${q}`], ['log', `#/log?${q}`], ['devices', `#/devices?${q}`], ['device', `#/devices/mac%3A02%3A00%3A5e%3A00%3A00%3A01?${q}`],
  ['vendors', `#/vendors?${q}`], ['vendor', `#/vendors/Aurora?${q}`], ['names', `#/names?${q}`], ['name', `#/names/push.aurora.example?${q}`],
  ['lists', '#/lists'], ['own rules', '#/lists/own'], ['list', '#/lists/home'], ['experiments', '#/experiments'], ['evidence', `#/evidence?${q}`], ['doctor', '#/doctor'],
  ['settings', '#/settings'], ['about', '#/about'], ['nothing', '#/log?last=1h&name=nobody.asked.example'],
];
for (const [name, hash] of pages) {
  await open(hash);
  await everywhere(name);
  if ((await page.locator('h1').count()) !== 1) fault(`${name}: not one heading of the first level`);
  if (await page.locator('main [role=alert]').count()) fault(`${name}: ${await page.locator('main [role=alert]').first().textContent()}`);
}

// The numbers are the API's.
await open(`#/?${q}`);
const report = await page.evaluate(async (query) => (await fetch(`api/v1/report?${query}`)).json(), q);
const shown = (await page.locator('.tiles .big').first().textContent()).replace(/\D/g, '');
if (shown !== String(report.listed[report.unit])) fault(`overview: ${shown} attempts, the report has ${report.listed[report.unit]}`);

// A row opens to its story, by the keyboard.
await open(`#/log?${q}&verdict=block`);
await page.locator('[data-row]').first().waitFor();
await page.keyboard.press('j');
await page.keyboard.press('j');
const second = await page.locator('[data-row]').nth(1).evaluate((e) => e === document.activeElement);
if (!second) fault('log: j does not go to the next row');
await page.keyboard.press('k');
await page.keyboard.press('Enter');
await page.locator('.story').waitFor();
await settled();
await everywhere('story');
await page.keyboard.press('?');
await page.locator('dialog[open]').waitFor();
await check('keys');
await page.keyboard.press('Escape');
await page.keyboard.press('/');
if (!(await page.evaluate(() => document.activeElement?.id === 'find'))) fault('/ does not go to the search');
await page.keyboard.press('Escape');

// A look-up appears, is allowed, passes, and that is undone.
const [host, port] = dns;
const resolver = new Resolver({ timeout: 5000, tries: 3 });
resolver.setServers([`${host}:${port}`]);
const askFor = (name) => resolver.resolve4(name).catch((e) => [e.code]);
await open('#/log?live=1');
await page.waitForFunction(() => document.querySelector('.stream.follows'));
const watched = 'crash.aurora.example';
const begun = Date.now();
const until = async (what, holds) => {
  for (const end = Date.now() + patience; Date.now() < end; ) { if (await holds()) return true; await new Promise((r) => setTimeout(r, 100)); }
  fault(what);
  return false;
};
if ((await askFor(watched))[0] !== '0.0.0.0') fault(`${watched} is not blocked to begin with`);
const row = page.locator('tr.row.block', { hasText: watched }).first();
await row.waitFor();
const took = Date.now() - begun;
await row.locator('[data-row]').press('Enter');
await page.getByRole('button', { name: 'Allow', exact: true }).press('Enter');
await page.locator('.notice', { hasText: 'is allowed' }).waitFor();
await until(`${watched} does not pass after it was allowed`, async () => (await askFor(watched))[0] !== '0.0.0.0');
await page.locator('tr.row.allow', { hasText: watched }).first().waitFor();
await page.locator('.notice').getByRole('button', { name: 'Undo' }).press('Enter');
await until(`${watched} is not blocked after that was undone`, async () => (await askFor(watched))[0] === '0.0.0.0');

// A rule that another one replaced comes back with Undo.
await page.getByRole('button', { name: 'Allow', exact: true }).press('Enter');
await page.locator('.notice', { hasText: 'is allowed' }).waitFor();
await page.getByRole('button', { name: 'Block', exact: true }).press('Enter');
await page.locator('.notice', { hasText: 'is blocked' }).getByRole('button', { name: 'Undo' }).press('Enter');
await until(`${watched} does not pass again after the rule that replaced its own was undone`, async () => (await askFor(watched))[0] !== '0.0.0.0');
await page.locator('.notice', { hasText: 'is allowed' }).getByRole('button', { name: 'Undo' }).press('Enter');
await until(`${watched} is not blocked after both rules were undone`, async () => (await askFor(watched))[0] === '0.0.0.0');

// A dialog that was closed by Escape opens again.
for (let n = 0; n < 2; n++) {
  await page.getByRole('button', { name: 'Observe the device' }).press('Enter');
  await page.locator('dialog[open]').waitFor({ timeout: 10_000 }).catch(() => fault(`a dialog that was closed ${n} times does not open`));
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog[open]'));
}

// An experiment is begun, marked and ended, and its report says that this was too little.
const planned = await page.evaluate(async () => (await fetch('api/v1/experiments', { method: 'POST', headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ name: 'walk-1', template: 'opt-out', devices: ['mac:02:00:5e:00:00:01'] }) })).status);
if (planned !== 201) fault(`an experiment is not planned: ${planned}`);
await open('#/experiments');
await page.getByRole('link', { name: 'walk-1' }).press('Enter');
await page.getByRole('button', { name: 'Begin the first phase' }).press('Enter');
await page.getByRole('heading', { name: 'What it shows' }).waitFor();
await page.getByLabel('What was done at the device').fill('opted out');
await page.getByRole('button', { name: 'Mark it, and begin the next phase' }).press('Enter');
await page.locator('.facts', { hasText: 'opted out' }).waitFor();
await settled();
await everywhere('experiment under way');
await page.getByRole('button', { name: 'End the experiment' }).press('Enter');
await page.locator('dd.state', { hasText: 'over' }).waitFor();
await page.getByText('too little data to say').first().waitFor();
await settled();
await everywhere('experiment');
// The page of one with figures: this log is too short for any, so the reply is made longer here.
await page.route('**/api/v1/experiments/walk-1/report*', async (route) => {
  const reply = await route.fetch(), r = await reply.json();
  const one = (what, more) => ({ what, vendor: 'Aurora', a: { count: 96, hours: 48, per_hour: 2, blocked: 1 }, b: { count: 12, hours: 48, per_hour: 0.25, blocked: 1 }, ratio: 0.125, low: 0.06, high: null, p: 0, q: 0, dispersion: 1, power: 1, verdict: 'fell', ...more });
  for (const d of r.devices) {
    d.total = one('', { back: one('', { verdict: 'rose' }) });
    d.purposes = [one('analytics'), one('', { verdict: 'no change seen' })];
    d.names = [one('crash.aurora.example', { note: 'in B it was answered' }), one('a-name-that-is-quite-long.of-a-host.cloud.aurora.example', { ratio: null, low: null, verdict: 'too little data to say', why: 'twelve more hours of each phase would be enough' })];
    d.vanished = ['crash.aurora.example'];
  }
  await route.fulfill({ json: r });
});
await open('#/experiments');
await open('#/experiments/walk-1');
await page.locator('main td', { hasText: 'fell' }).first().waitFor();
await everywhere('experiment with figures');
await page.unroute('**/api/v1/experiments/walk-1/report*');

// Pause and its end.
await page.keyboard.press('Escape');
await page.getByRole('button', { name: 'Pause blocking' }).click();
await page.locator('dialog[open]').waitFor();
await page.getByRole('button', { name: '5 minutes', exact: true }).click();
await page.locator('.banner').waitFor();
await page.getByRole('button', { name: 'End it now' }).click();
await page.waitForFunction(() => !document.querySelector('.banner'));

// What strangers wrote stays text, whatever it is.
for (const text of ['<img src=x onerror=alert(1)>', '"><script>alert(1)</script>', '\u202egnp.exe', "javascript:alert(1)"]) {
  expected = ['422', '404'];
  await open(`#/names/${encodeURIComponent(text).replace(/'/g, '%27')}`).catch(() => {});
  if (await page.locator('main img, main script').count()) fault(`${JSON.stringify(text)} became an element`);
  if ((await page.locator('h1').textContent()).includes('\u202e')) fault('a character that turns the direction is shown as it is');
}
expected = [];

// German, and a browser that goes back.
await open('#/');
await page.locator('nav select').selectOption('de');
await page.getByRole('heading', { level: 1, name: 'Übersicht' }).waitFor();
if ((await page.evaluate(() => document.documentElement.lang)) !== 'de') fault('the language of the page is not said');
await everywhere('overview in German');
await page.locator('nav select').selectOption('en');

// Another site may not frame it, and a session that ends elsewhere is told.
await context.clearCookies();
expected = ['401'];
await page.evaluate(() => { location.hash = '#/vendors'; });
await page.waitForSelector('input[type=password]');

await browser.close();
console.log(`SEEN ${looked} ${took}`);
process.exit(wrong ? 1 : 0);
