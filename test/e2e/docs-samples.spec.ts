import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { startMockOperator } from '../../mocks/operator/start';
import { startMockRgs } from '../../mocks/rgs/start';
import { sign, signBound, standardWebhookSignature } from '../../src/partners/signature';
import { boundHeader, boundSignatureOf } from '../support/hub/bound-signature';
import { wait } from '../support/money';
import { type RecordedRequest, RecordingProxy } from '../support/partners/recording-proxy';
import { signatureOf } from '../support/hub/signed-request';
import { TestHub } from '../support/hub/test-hub';
import { waitFor } from '../support/wait-for';

const pageOf = (name: string) => readFileSync(path.resolve(__dirname, `../../docs/${name}.md`), 'utf8');
const STUDIO = pageOf('for-game-studios');
const OPERATOR = pageOf('for-operators');
const sampleOf = (page: string, language: string) =>
  new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? '';
const run = promisify(execFile);

/** What the sample's lines print, as JSON. */
async function python(page: string, program: string): Promise<any> {
  const { stdout } = await run('python3', ['-c', `${sampleOf(page, 'python')}\n${program}`]);
  return JSON.parse(stdout);
}
async function node(page: string, program: string): Promise<any> {
  const { stdout } = await run(process.execPath, [
    '-e',
    `${sampleOf(page, 'js')}\n(async () => { console.log(JSON.stringify(await (async () => { ${program} })())); })();`,
  ]);
  return JSON.parse(stdout);
}
const text = (value: unknown) => JSON.stringify(value);
const pythonText = (value: unknown) => `json.loads(${text(text(value))})`;

describe.each([
  ['studios', STUDIO],
  ['operators', OPERATOR],
])('a test vector for %s', (_who, page) => {
  const cells = (line: string) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => /`([^`]*)`/.exec(cell)?.[1] ?? '');
  const vectors = page
    .split('\n')
    .filter((line) => /^\| `(?:POST|GET) https:/.test(line))
    .map(cells);

  it('is there for a call in each direction and for a GET', () => {
    const hosts = (method: string) =>
      vectors
        .filter(([request]) => request?.startsWith(method))
        .map(([request = '']) => new URL(request.split(' ')[1] ?? '').host);
    expect([new Set(hosts('POST')).size, hosts('GET').length]).toEqual([2, 1]);
  });

  it.each(vectors)(
    '%s is what the hub makes of it, and what the page says',
    (request = '', idempotencyKey = '', body = '', own = '', bound = '') => {
      const [method = '', address = ''] = request.split(' ');
      const { host, pathname, search } = new URL(address);
      const parts = {
        timestamp: '1795000000',
        method,
        host,
        target: pathname + search,
        idempotencyKey,
        operator: '',
        body,
      };
      expect([own, `t=1795000000,kid=env,v2=${bound}`]).toEqual([
        sign('change_secret', '1795000000', body),
        signBound({ kid: 'env', secret: 'change_secret' }, parts),
      ]);
      expect([own, bound]).toEqual([
        signatureOf('change_secret', '1795000000', body),
        boundSignatureOf('change_secret', parts),
      ]);
    },
  );
});

it('the vector of a webhook has the signature of Standard Webhooks, too', () => {
  const [, id = '', body = ''] =
    /^\| `POST https:\/\/games\.example\/webhooks`.*?`(.*?)` \| `(.*?)`/m.exec(STUDIO) ?? [];
  expect(STUDIO).toContain(`\`${standardWebhookSignature(['change_secret'], id, '1795000000', body)}\``);
});

describe('a sample', () => {
  let hub: TestHub;
  let lines: { readonly wallet: RecordingProxy; readonly webhook: RecordingProxy };
  beforeAll(async () => {
    const [operator, rgs] = [await startMockOperator(), await startMockRgs()];
    operator.settings.callbacks = false;
    lines = { wallet: await RecordingProxy.start(operator.url), webhook: await RecordingProxy.start(rgs.url) };
    hub = await TestHub.start({
      operator,
      rgs,
      env: { OPERATOR_BASE_URL: lines.wallet.url, RGS_WEBHOOK_URL: `${lines.webhook.url}/webhooks` },
    });
    await hub.debit({ refId: 'a-bet' }, wait(5));
    await waitFor('the outcome is told', async () => (await hub.rgsReceived()).length > 0);
    expect((await hub.call('GET', '/reconciliation_data')).status).toBe(200);
  });
  afterAll(async () => {
    await hub.stop();
    await Promise.all([lines.wallet.switchOff(), lines.webhook.switchOff()]);
    await Promise.all([hub.operator.close(), hub.rgs.close()]);
  });

  const js = {
    settings: (url: string) =>
      `Object.assign(globalThis, { HUB: ${text(url)}, TOKEN: 'change_token', SECRET: 'change_secret' });`,
  };
  const py = { settings: (url: string) => `HUB, TOKEN, SECRET = ${text(url)}, "change_token", "change_secret"\n` };
  const bet = { playerId: 'ö', amountCents: 500, currency: 'USD' };
  const unknown = {
    playerId: 'a',
    amount: '5.00',
    currency: 'USD',
    status: 'OK',
    event: 'withdraw',
    refId: 'nobody',
    correlationId: 'nobody',
  };

  it('of Node and of Python places a bet, and hands back a refusal with its problem document', async () => {
    const expected = (refId: string) => [
      expect.objectContaining({ status: 'initiated', refId }),
      expect.objectContaining({ code: 'validation_failed' }),
    ];
    const ofNode = await node(
      STUDIO,
      `${js.settings(hub.url)} return [await post('/wallet/debit', ${text({ ...bet, refId: 'js' })}, 'k-js'), await post('/wallet/debit', {}, 'k-js2')];`,
    );
    expect([
      ofNode.map(({ answer }: { answer: unknown }) => answer),
      ofNode.map(({ status }: { status: number }) => status),
    ]).toEqual([expected('js'), [200, 422]]);
    const ofPython = await python(
      STUDIO,
      `${py.settings(hub.url)}print(json.dumps([post("/wallet/debit", ${pythonText({ ...bet, refId: 'py' })}, "k-py"), post("/wallet/debit", {}, "k-py2")]))`,
    );
    expect([
      ofPython.map(([, answer]: [number, unknown]) => answer),
      ofPython.map(([status]: [number]) => status),
    ]).toEqual([expected('py'), [200, 422]]);
  });

  it('of Node and of Python sends a callback, and hands back a refusal with its problem document', async () => {
    const { reference, correlationId } = (await hub.operatorBooks())[0];
    const real = { ...unknown, playerId: 'player-1', refId: reference, correlationId };
    const accepted = { status: 'accepted' };
    const refused = expect.objectContaining({ code: 'unknown_reference' });
    expect(
      await node(
        OPERATOR,
        `${js.settings(hub.url)} return [await tellHub(${text(real)}), await tellHub(${text(unknown)})];`,
      ),
    ).toEqual([
      { status: 200, answer: accepted },
      { status: 404, answer: refused },
    ]);
    expect(
      await python(
        OPERATOR,
        `${py.settings(hub.url)}print(json.dumps([tell_hub(${pythonText(real)}), tell_hub(${pythonText(unknown)})]))`,
      ),
    ).toEqual([
      [200, accepted],
      [404, refused],
    ]);
  });

  it.each([
    ['studios', STUDIO, `post('/wallet/debit', {}, 'k', 300)`, 'post("/wallet/debit", {}, "k", 0.3)'],
    ['operators', OPERATOR, 'tellHub({}, 300)', 'tell_hub({}, 0.3)'],
  ])('for %s gives up in time on a hub that is silent', async (_who, page, ofNode, ofPython) => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    try {
      expect(
        await node(page, `${js.settings(url)} try { return await ${ofNode}; } catch (error) { return error.name; }`),
      ).toBe('TimeoutError');
      expect(
        await python(page, `${py.settings(url)}\ntry:\n    ${ofPython}\nexcept OSError:\n    print('"no answer"')`),
      ).toBe('no answer');
    } finally {
      silent.closeAllConnections();
      silent.close();
    }
  });

  it('for studios verifies what the hub sends, and refuses what was changed, is old or has no signature', async () => {
    const told = lines.webhook.requests.find(({ method }) => method === 'POST');
    if (told === undefined) throw new Error('no webhook came');
    const old = { 'x-timestamp': '1795000000', 'x-signature': signatureOf('change_secret', '1795000000', told.body) };
    const cases = [
      [told.headers, told.body],
      [told.headers, `${told.body} `],
      [old, told.body],
      [{}, told.body],
    ] as const;
    const right = [true, false, false, false];
    expect(
      await node(
        STUDIO,
        `return ${text(cases)}.map(([headers, body]) => verify('change_secret', headers, Buffer.from(body)));`,
      ),
    ).toEqual(right);
    expect(
      await python(
        STUDIO,
        `print(json.dumps([verify("change_secret", headers, body.encode()) for headers, body in ${pythonText(cases)}]))`,
      ),
    ).toEqual(right);
  });

  it('for operators verifies the calls of the hub with and without a body, and refuses them on another route, host or key', async () => {
    const [taken, list] = [
      lines.wallet.requests.find(({ method }) => method === 'POST'),
      lines.wallet.requests.find(({ method }) => method === 'GET'),
    ];
    if (taken === undefined || list === undefined) throw new Error('the hub did not call');
    const { host } = new URL(lines.wallet.url);
    const as = (request: RecordedRequest, changed: Partial<RecordedRequest & { host: string }> = {}) => ({
      host,
      method: request.method,
      path: request.path,
      headers: request.headers,
      body: request.body,
      ...changed,
    });
    const { 'x-signature-v2': _bound, ...unsigned } = taken.headers;
    const renamed = String(taken.headers['x-signature-v2']).replace('kid=env', 'kid=__proto__');
    const cases = [
      as(taken),
      as(list),
      as(taken, { path: taken.path.replace('withdraw', 'deposit') }),
      as(taken, { path: taken.path.replace('player-1', 'player-2') }),
      as(taken, { host: 'other.example' }),
      as(taken, { body: taken.body.replace('5.00', '6.00') }),
      as(taken, { headers: { ...taken.headers, 'idempotency-key': 'other' } }),
      as(taken, { headers: { ...taken.headers, 'x-signature-v2': renamed } }),
      as(taken, { headers: unsigned }),
      as(taken, {
        headers: {
          ...taken.headers,
          'x-signature-v2': boundHeader('change_secret', {
            timestamp: '1795000000',
            method: 'POST',
            host,
            target: taken.path,
            idempotencyKey: String(taken.headers['idempotency-key']),
            body: taken.body,
          }),
        },
      }),
    ];
    const right = [true, true, ...cases.slice(2).map(() => false)];
    expect(
      await node(
        OPERATOR,
        `return ${text(cases)}.map(({ host, method, path, headers, body }) => verifyCall({ env: 'change_secret' }, host, { method, url: path, headers }, Buffer.from(body)));`,
      ),
    ).toEqual(right);
    expect(
      await python(
        OPERATOR,
        `print(json.dumps([verify_call({"env": "change_secret"}, c["host"], c["method"], c["path"], c["headers"], c["body"].encode()) for c in ${pythonText(cases)}]))`,
      ),
    ).toEqual(right);
  });
});
