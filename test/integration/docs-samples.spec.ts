import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { signatureOf } from '../support/signed-request';
import { TestHub } from '../support/test-hub';

const PAGE = readFileSync(path.resolve(__dirname, '../../docs/integration.md'), 'utf8');
const python = /```python\n([\s\S]*?)```/.exec(PAGE)?.[1] ?? '';
const run = promisify(execFile);

/** What the sample's lines print, as JSON. */
async function printed(program: string): Promise<unknown> {
  const { stdout } = await run('python3', ['-c', `${python}\n${program}`]);
  return JSON.parse(stdout);
}

describe('the Python sample', () => {
  let hub: TestHub;
  beforeAll(async () => {
    hub = await TestHub.start();
  });
  afterAll(() => hub.stop());

  const settings = (url: string) => `HUB, TOKEN, SECRET = ${JSON.stringify(url)}, "change_token", "change_secret"\n`;

  it('places a bet, and hands back a refusal with its problem document', async () => {
    const fields = '{"playerId": "py-ö", "amountCents": 500, "currency": "USD", "refId": "bet"}';
    expect(await printed(`${settings(hub.url)}print(json.dumps([post("/wallet/debit", ${fields}, "k"), post("/wallet/debit", {}, "k2")]))`)).toMatchObject([
      [200, { status: 'initiated', refId: 'bet' }],
      [422, { code: 'validation_failed' }],
    ]);
  });

  it('gives up in time on a server that is not there', async () => {
    expect(await printed(`${settings('http://127.0.0.1:9')}\ntry:\n    post("/wallet/debit", {}, "k", 2)\nexcept OSError:\n    print('"no answer"')`)).toBe('no answer');
  });

  it('verifies a webhook, and refuses one that was changed, is old or has no signature', async () => {
    const body = '{"playerId":"ö","amountCents":500}';
    const now = Math.floor(Date.now() / 1000).toString();
    const headers = { 'x-timestamp': now, 'x-signature': signatureOf('change_secret', now, body) };
    const old = { 'x-timestamp': '1795000000', 'x-signature': signatureOf('change_secret', '1795000000', body) };
    const verify = (given: object, text: string) => `verify("change_secret", json.loads(${JSON.stringify(JSON.stringify(given))}), ${JSON.stringify(text)}.encode())`;
    expect(await printed(`print(json.dumps([${[verify(headers, body), verify(headers, `${body} `), verify(old, body), verify({}, body)].join(', ')}]))`)).toEqual([true, false, false, false]);
  });
});
