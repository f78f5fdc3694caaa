import { existsSync } from 'node:fs';
import { type Browser, type Page, type Request, chromium } from 'playwright-core';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

/** Debian's package `chromium` puts it there. */
const CHROMIUM = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const SECRET = 'change_secret';

describe('Swagger UI', () => {
  let hub: TestHub;
  let browser: Browser;
  let page: Page;
  let sent: Request[];
  beforeAll(async () => {
    if (!existsSync(CHROMIUM))
      throw new Error(`no browser at ${CHROMIUM}: apt-get install chromium, or name one in CHROMIUM_PATH`);
    hub = await TestHub.start();
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser.close();
    await hub.stop();
  });
  beforeEach(async () => {
    await hub.clear();
    page = await browser.newPage({ viewport: { width: 1300, height: 1400 } });
    page.setDefaultTimeout(120_000);
    sent = [];
    page.on('request', (request) => sent.push(request));
    await page.goto(`${hub.url}/swagger`);
    await page.locator('.opblock').first().waitFor();
  });
  afterEach(() => page.close());

  /** As a developer does it: the token and the key of each, in the dialog, and nothing else. */
  async function authorize(values: Readonly<Record<string, string>>): Promise<void> {
    await page.locator('.auth-wrapper .authorize').first().click();
    for (const [scheme, value] of Object.entries(values)) {
      const form = page.locator('.auth-container form', { has: page.locator(`h4 code:text-is("${scheme}")`) });
      await form.locator('input').fill(value);
      await form.locator('button.authorize').click();
    }
    await page.locator('.auth-container .btn-done').first().click();
  }

  async function execute(operation: string): Promise<{ status: string; body: string; request: Request }> {
    const block = page.locator(`.opblock[id$="-${operation}"]`);
    await block.locator('.opblock-summary-control').click();
    return press(operation);
  }

  async function press(operation: string): Promise<{ status: string; body: string; request: Request }> {
    const block = page.locator(`.opblock[id$="-${operation}"]`);
    const before = sent.length;
    await block.locator('button.execute').click();
    await block.locator('.live-responses-table .response-col_status').first().waitFor();
    const request = await waitFor('the request', () =>
      sent.slice(before).find((each) => !each.url().includes('/swagger')),
    );
    const answer = await waitFor('the answer', () => request.response());
    return { status: String(answer.status()), body: await answer.text(), request };
  }

  const ALL = {
    rgs: 'change_token',
    rgsSignature: SECRET,
    operator: 'change_token',
    operatorSignature: SECRET,
    ops: 'change_token',
  };

  it('is accepted at once on debit, rollback, look-up, list and callback, with nothing typed but tokens and keys', async () => {
    await authorize(ALL);
    const debit = await execute('debit');
    expect(debit.status).toBe('200');
    expect(JSON.parse(debit.body)).toMatchObject({ status: 'initiated', refId: 'bet-1001' });
    const { transactionId } = JSON.parse(debit.body) as { transactionId: string };
    await hub.reaches(transactionId, 'confirmed');
    expect((await execute('receiveOperatorCallback')).status).toBe('200');
    expect((await execute('listTransactions')).status).toBe('200');
    expect((await execute('listOutboxRecords')).status).toBe('200');
    const rollback = await execute('rollback');
    expect([rollback.status, (JSON.parse(rollback.body) as { status: string }).status]).toEqual(['200', 'initiated']);
    await hub.reaches(transactionId, 'rolled_back');
    if (process.env.SCREENSHOT !== undefined) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
  });

  it('signs each request anew, with the time and a key of its own, and takes the key that was typed', async () => {
    await authorize(ALL);
    const first = await execute('debit');
    await waitFor('a second later', () => Date.now() / 1000 - Number(first.request.headers()['x-timestamp']) >= 1.1);
    const second = await press('debit');
    expect([first.status, second.status]).toEqual(['200', '200']);
    const [one, two] = [first.request.headers(), second.request.headers()];
    expect(one['x-signature']).toMatch(/^[0-9a-f]{64}$/);
    for (const name of ['x-timestamp', 'x-signature', 'idempotency-key'])
      expect({ name, same: one[name] === two[name] }).toEqual({ name, same: false });
    await page.locator('.opblock[id$="-debit"] tr[data-param-name="Idempotency-Key"] input').fill('my-own');
    expect((await press('debit')).request.headers()['idempotency-key']).toBe('my-own');
  });

  it.each([SECRET, `kid=env;${SECRET}`])('signs with version 2 when its key is typed as %s', async (key) => {
    await authorize({ rgs: 'change_token', rgsSignatureV2: key });
    const bet = await execute('debit');
    expect([bet.status, bet.request.headers()['x-signature'], bet.request.headers()['x-signature-v2']]).toEqual([
      '200',
      undefined,
      expect.stringMatching(/^t=\d+,kid=env,v2=[0-9a-f]{64}$/),
    ]);
  });

  it('without the key is refused, and says with which header', async () => {
    await authorize({ rgs: 'change_token' });
    const refused = await execute('debit');
    expect([refused.status, (JSON.parse(refused.body) as { code: string }).code]).toEqual(['401', 'invalid_signature']);
  });

  it('keeps the key to itself: it is in no request, no address, no storage, and gone with the page', async () => {
    await authorize({ rgs: 'change_token', rgsSignature: 'a-very-secret-key' });
    await execute('debit');
    await execute('listTransactions');
    for (const request of sent)
      expect([request.url(), JSON.stringify(request.headers()), request.postData() ?? ''].join('\n')).not.toContain(
        'a-very-secret-key',
      );
    const kept = await page.evaluate(
      'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])',
    );
    expect(kept).not.toContain('a-very-secret-key');
    expect(await page.locator('body').innerText()).not.toContain('a-very-secret-key');
    await page.reload();
    await page.locator('.opblock').first().waitFor();
    expect((await execute('debit')).status).toBe('401');
  });
});
