// Checks the pages of an exporter in Chromium, which has to be on PATH: node pages.mjs ADDRESS. Exits with 1 and says what is wrong.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';

const [address] = process.argv.slice(2);
const executablePath = execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim();
const flags = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath, args: flags });
const problems = [];

async function open(path, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on('console', message => problems.push(`${path}: ${message.text()}`));
  page.on('pageerror', error => problems.push(`${path}: ${error.message}`));
  const response = await page.goto(address + path);
  return { page, context, status: response.status() };
}

// The contrast of every text with what is behind it (WCAG 2.2, 1.4.3).
const contrasts = () => {
  const parse = text => (text.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const luminance = rgb => {
    const [r, g, b] = rgb.slice(0, 3).map(v => v / 255).map(v => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest('svg,script,title,noscript,option') || !element.offsetParent) continue;
    const [a, b] = [parse(getComputedStyle(element).color), behind(element)].map(luminance);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(getComputedStyle(element).fontSize);
    found.push({ text: walker.currentNode.textContent.trim().slice(0, 40), contrast, size });
  }
  return found;
};

for (const width of [1300, 400]) {
  for (const colorScheme of ['light', 'dark']) {
    for (const path of ['/', '/tasks/gw/failed', '/?status=nonsense']) {
      const { page, context, status } = await open(path, { viewport: { width, height: 900 }, colorScheme });
      const where = `${path} at ${width} px, ${colorScheme}`;
      assert.equal(status, path.includes('nonsense') ? 400 : 200, where);
      const texts = await page.evaluate(contrasts);
      assert.ok(texts.length > 5, where);
      for (const { text, contrast, size } of texts) {
        assert.ok(contrast >= 4.5, `${where}: "${text}" has a contrast of ${contrast.toFixed(2)}`);
        assert.ok(size >= 12, `${where}: "${text}" has ${size} px`);
      }
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${where}: ${overflow} px wider than the window`);
      await context.close();
    }
  }
}
// A status of 400 is a message of the browser, and right.
problems.splice(0, problems.length, ...problems.filter(text => !text.includes('400 (Bad Request)')));

// The order, the states of upstreams, and the filter with its choices.
{
  const { page, context } = await open('/', { viewport: { width: 1300, height: 900 } });
  const ids = () => page.$$eval('tbody code', codes => codes.map(code => code.textContent));
  assert.deepEqual(await ids(), ['stuck', 'failed', 'running', 'succeeded']);
  assert.match(await page.textContent('.card.up'), /gw .*answers for .*, 1 stuck/s);
  assert.match(await page.textContent('.card.down'), /away .*does not answer for .*last error: connect \(list\): refused/s);
  assert.equal(await page.locator('thead').isVisible(), true);
  await page.selectOption('select[name=status]', 'failed');
  await page.click('form button');
  await page.waitForURL(/status=failed/);
  assert.deepEqual(await ids(), ['failed']);
  assert.equal(await page.inputValue('select[name=status]'), 'failed');
  await page.goto(`${address}/?id=uck`);
  assert.deepEqual(await ids(), ['stuck']);
  await page.goto(`${address}/?sort=newest`);
  assert.equal((await ids()).at(-1), 'stuck');
  await page.click('text=running >> nth=0');
  await context.close();
}

// It refreshes itself, unless it is paused; what is being chosen stays.
{
  const { page, context } = await open('/', { viewport: { width: 1300, height: 900 } });
  const mark = () => page.evaluate(() => { document.querySelector('main').dataset.old = 'yes'; });
  const isOld = () => page.evaluate(() => document.querySelector('main').dataset.old === 'yes');
  await mark();
  await page.waitForFunction(() => document.querySelector('main').dataset.old !== 'yes');
  await page.click('#pause');
  assert.equal(await page.textContent('#pause'), 'Continue refreshing');
  await mark();
  await page.waitForTimeout(6000);
  assert.equal(await isOld(), true, 'a paused page was refreshed');
  await page.click('#pause');
  await page.waitForFunction(() => document.querySelector('main').dataset.old !== 'yes');
  await page.fill('input[name=id]', 'abc');
  await mark();
  await page.waitForTimeout(6000);
  assert.equal(await isOld(), true, 'a form was refreshed while it was being filled in');
  await page.click('h1 small');
  await page.waitForFunction(() => document.querySelector('main').dataset.old !== 'yes');
  assert.equal(await page.inputValue('input[name=id]'), 'abc');
  await context.close();
}

// A task: timeline as a picture and a table, both layers, the error, links, copying.
{
  const { page, context } = await open('/tasks/gw/failed', { permissions: ['clipboard-read', 'clipboard-write'] });
  assert.match(await page.textContent('.error'), /content policy.*refused for its content/s);
  assert.ok(await page.locator('svg rect.failed').count() > 0);
  assert.match(await page.textContent('main table >> nth=1'), /running.*failed/s);
  assert.match(await page.textContent('table.facts >> nth=-1'), /team\s*growth/);
  await page.click('text=Copy upstream and id');
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'gw failed');
  assert.equal(await page.getAttribute('text=Grafana >> nth=1', 'href'), 'https://grafana.example.com/d/videogen-task?var-upstream=gw&var-task=failed');
  await page.click('text=JSON');
  assert.equal(JSON.parse(await page.textContent('body')).task_id, 'failed');
  await context.close();
}

// Cards below 600 px, and everything without a script.
{
  const { page, context } = await open('/', { viewport: { width: 400, height: 900 }, javaScriptEnabled: false });
  assert.equal(await page.locator('thead').isVisible(), false);
  assert.equal(await page.locator('noscript').count(), 1);
  assert.match(await page.innerHTML('head'), /http-equiv="?refresh/);
  await page.click('#pause');
  await page.waitForURL(/refresh=off/);
  assert.doesNotMatch(await page.innerHTML('head'), /http-equiv="?refresh/);
  await page.click('text=failed >> nth=-1');
  await context.close();
}
{
  const { page, context } = await open('/tasks/gw/failed', { javaScriptEnabled: false });
  assert.equal(await page.locator('text=Copy id').isVisible(), false);
  await context.close();
}

await browser.close();
assert.deepEqual(problems, []);
console.log('the pages are right');
