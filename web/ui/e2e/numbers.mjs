// Every number of a page that is a link to the log, against the rows behind it; and what pages
// show, against what the commands print of the same period.

/** rowsOf returns all listed rows of a period. */
export async function rowsOf(page, period) {
  return page.evaluate(async (query) => {
    const all = [];
    for (let cursor = ''; ; ) {
      const reply = await (await fetch(`api/v1/log?${query}&listed=true&limit=1000${cursor ? '&cursor=' + cursor : ''}`)).json();
      all.push(...(reply.rows ?? []));
      if (!reply.more) return all;
      cursor = reply.next;
    }
  }, period);
}

/** isBelow reports whether a row's name or alias is a name, or below it. */
export const isBelow = (r, name) => [r.name, r.alias ?? ''].some((n) => n === name || n.endsWith('.' + name));

/**
 * linked compares each number of the page that leads to the log with the rows that its link asks for. It
 * returns what is wrong, and how many were compared.
 */
export async function linked(page, rows, unit) {
  const links = await page.evaluate(() => [...document.querySelectorAll('main a[href^="#/log?"]')].map((a) => ({ text: a.textContent.trim(), href: a.getAttribute('href') })));
  const wrong = [];
  let compared = 0;
  for (const { text, href } of links) {
    if (!/^[0-9][0-9,]*$/.test(text)) continue; // a bar, or words
    const q = new URLSearchParams(href.split('?')[1]);
    const name = q.get('name') ?? ''; // =NAME: of it alone; .NAME: also of names below it
    let sum = 0;
    for (const r of rows) {
      if (q.get('device') && q.get('device') !== (r.corrected?.device || r.device)) continue;
      if (q.get('vendor') && q.get('vendor') !== r.vendor) continue;
      if (q.get('verdict') && q.get('verdict') !== r.verdict) continue;
      if (name && (name[0] === '.' ? !isBelow(r, name.slice(1)) : name.slice(1) !== r.name)) continue;
      sum += unit === 'attempts' ? (r.attempts ?? 0) : r.count;
    }
    compared++;
    if (Number(text.replaceAll(',', '')) !== sum) wrong.push(`${text} leads to ${href}, whose rows have ${sum} ${unit}`);
  }
  return { wrong, compared };
}

/** shown returns the numbers of a page: of its tiles, and of each table by row and column. */
export async function shown(page) {
  return page.evaluate(() => {
    const clean = (e) => e.textContent.trim().replace(/\s+/g, ' ');
    const tiles = [...document.querySelectorAll('.tiles > div')].map((d) => clean(d.querySelector('.big')));
    const tables = [...document.querySelectorAll('main table')].map((table) => [...table.querySelectorAll('tbody tr')].map((tr) => ({
      key: decodeURIComponent(tr.querySelector('th a')?.getAttribute('href')?.split('?')[0].split('/').pop() ?? '') || clean(tr.querySelector('th') ?? tr),
      numbers: [...tr.querySelectorAll('td.n, td[class^="l"]')].map(clean),
    })));
    // A bar says when it was, what was counted, and how much of it was recorded.
    const bars = [...document.querySelectorAll('a.slot')].map((a) => a.getAttribute('aria-label').replace(/^.*?: /, ''));
    const hours = [...document.querySelectorAll('.heat tbody td')].map(clean);
    return { tiles, tables, bars, hours: hours.length ? hours : undefined };
  });
}
