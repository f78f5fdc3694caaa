import { Controller, type INestApplication, Get } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AppModule } from '../../src/app.module';
import { parseConfig } from '../../src/config/config';
import { expectProblem } from '../support/hub/problem';
import { type Route, callablePath, routesOf } from '../support/hub/routes';
import { signedRequest } from '../support/hub/signed-request';
import { TestHub } from '../support/hub/test-hub';

const TOKENS = {
  rgs: 'token-of-the-rgs',
  operator: 'token-of-the-operator',
  ops: 'token-of-ops',
  finance: 'token-of-finance',
} as const;
type Access = keyof typeof TOKENS;
const ACCESSES = Object.keys(TOKENS) as Access[];

/** The contract's table. A route that no line covers fails the test: its author must say here who may call it. */
const CONTRACT: readonly (readonly [RegExp, ...(Access | 'public')[]])[] = [
  [/^\/health(\/|$)/, 'public'],
  [/^\/swagger/, 'public'],
  [/^\/wallet\//, 'rgs'],
  [/^\/rounds\//, 'rgs'],
  [/^\/v1\/me$/, 'rgs'],
  [/^\/webhooks\/incoming$/, 'operator'],
  [/^\/webhooks\/outbox$/, 'ops'],
  [/^\/admin\//, 'ops'],
  [/^\/metrics$/, 'ops'],
  [/^\/reconciliation_data$/, 'finance'],
  [/^\/v1\/recon\//, 'finance', 'ops'],
];

function accessOf({ path }: Route): readonly (Access | 'public')[] {
  return (CONTRACT.find(([pattern]) => pattern.test(path))?.slice(1) as (Access | 'public')[] | undefined) ?? [];
}

@Controller('forgotten')
class ForgottenController {
  @Get()
  open(): string {
    return 'nobody said who may read this';
  }
}

describe('access', () => {
  const environment = {
    RGS_TOKEN: TOKENS.rgs,
    OPERATOR_TOKEN: TOKENS.operator,
    OPS_TOKEN: TOKENS.ops,
    FINANCE_TOKEN: TOKENS.finance,
  };
  let hub: TestHub;
  let routes: Route[];
  beforeAll(async () => {
    hub = await TestHub.start({ env: environment });
    routes = routesOf(hub.app);
  });
  afterAll(() => hub.stop());

  const call = (route: Route, token: string | null) =>
    hub.call(route.method, callablePath(route), route.method === 'GET' ? undefined : {}, { token });
  const closed = () => routes.filter((route) => !accessOf(route).includes('public'));

  it('has a line in the contract for every route, and the router knows the ones that money depends on', () => {
    expect(routes.filter((route) => accessOf(route).length === 0)).toEqual([]);
    // Guards against a router whose shape changed so that the walk below sees nothing.
    expect(routes).toEqual(
      expect.arrayContaining([
        { method: 'POST', path: '/wallet/debit' },
        { method: 'POST', path: '/webhooks/incoming' },
        { method: 'GET', path: '/reconciliation_data' },
        { method: 'GET', path: '/health' },
      ]),
    );
  });

  it('is not needed for health and documentation', async () => {
    const stranger = { token: null, timestamp: null, signature: null };
    for (const route of routes.filter((candidate) => accessOf(candidate).includes('public'))) {
      const { status } = await signedRequest(route.method, hub.url + callablePath(route), undefined, stranger);
      expect({ route, refused: [401, 403].includes(status) }).toEqual({ route, refused: false });
    }
    for (const path of ['/health', '/health/live', '/health/ready', '/swagger', '/swagger-json']) {
      const { status } = await signedRequest('GET', hub.url + path, undefined, stranger);
      expect({ path, status }).toEqual({ path, status: 200 });
    }
  });

  it.each([
    ['without a token', null],
    ['with an unknown token', 'token-of-nobody'],
  ])('is 401 on every closed route %s', async (_how, token) => {
    for (const route of closed()) {
      const answer = await call(route, token);
      expectProblem(answer, 'unauthorized');
      expect(answer.body.detail).toBe('Unauthorized');
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    }
  });

  it.each(ACCESSES)('with the token of %s opens its routes and is 403 on all others', async (owner) => {
    const opened: Route[] = [];
    for (const route of closed()) {
      const answer = await call(route, TOKENS[owner]);
      if (accessOf(route).includes(owner)) {
        opened.push(route);
        expect({ route, refused: [401, 403].includes(answer.status) && answer.body }).toEqual({
          route,
          refused: false,
        });
        expect(answer.status).toBeLessThan(500);
      } else {
        expectProblem(answer, 'forbidden');
        expect(answer.body.detail).toBe('forbidden');
      }
    }
    expect(opened.length).toBeGreaterThan(0);
  });

  it('is whole for BEARER_TOKEN, which stands in for all four in development', async () => {
    for (const route of closed()) {
      const answer = await call(route, 'change_token');
      expect({ route, refused: [401, 403].includes(answer.status) && answer.body }).toEqual({ route, refused: false });
    }
  });

  it('is asked for before the signature: a stranger does not learn whether a signature would have been right', async () => {
    expectProblem(await hub.debit({}, { token: null }), 'unauthorized');
    expectProblem(await hub.debit({}, { token: TOKENS.finance, signature: '0'.repeat(64) }), 'forbidden');
    expectProblem(await hub.callback({}, { token: null, timestamp: null, signature: null }), 'unauthorized');
  });

  it.each([
    ['another scheme', { authorization: `Basic ${Buffer.from(`ops:${TOKENS.ops}`).toString('base64')}` }],
    ['no scheme', { authorization: TOKENS.ops }],
    ['an empty token', { authorization: 'Bearer ' }],
    ['a token and something more', { authorization: `Bearer ${TOKENS.ops} ${TOKENS.ops}` }],
    ['the first half of a token', { authorization: `Bearer ${TOKENS.ops.slice(0, 6)}` }],
    ['a token in other letters', { authorization: `Bearer ${TOKENS.ops.toUpperCase()}` }],
    ['a token of 10 000 characters', { authorization: `Bearer ${'a'.repeat(10_000)}` }],
    ['a cookie in place of the header', { cookie: `token=${TOKENS.ops}` }],
  ])('is refused for %s', async (_what, headers) => {
    expectProblem(await hub.call('GET', '/webhooks/outbox', undefined, { token: null, headers }), 'unauthorized');
  });

  it('is refused for a token in the query, which would end up in logs', async () => {
    expectProblem(
      await hub.call('GET', `/webhooks/outbox?access_token=${TOKENS.ops}`, undefined, { token: null }),
      'unauthorized',
    );
  });

  it('takes the scheme in any letters, as RFC 9110 has it', async () => {
    expect(
      (
        await hub.call('GET', '/webhooks/outbox', undefined, {
          token: null,
          headers: { authorization: `bearer ${TOKENS.ops}` },
        })
      ).status,
    ).toBe(200);
  });

  it.each(['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE'])('cannot be had by asking with %s', async (method) => {
    for (const route of closed()) {
      const answer = await hub.call(method, callablePath(route), undefined, {
        token: null,
        timestamp: null,
        signature: null,
      });
      // 405 where the route has no such method: which methods exist is in the public documentation anyway.
      expect({ route, status: answer.status, allowed: [401, 405].includes(answer.status) }).toEqual({
        route,
        status: answer.status,
        allowed: true,
      });
    }
  });

  describe('to a route whose author forgot @Access', () => {
    let app: INestApplication;
    beforeAll(async () => {
      const config = parseConfig({
        NODE_ENV: 'test',
        ...environment,
        DATABASE_URL: hub.database.url,
        LOG_LEVEL: 'silent',
        ROLE: 'api',
        PARTNER_CHANGE_ACCEPTED: 'true',
      });
      app = await NestFactory.create(
        { module: class Forgotten {}, imports: [AppModule.register(config)], controllers: [ForgottenController] },
        { logger: false, abortOnError: false },
      );
      await app.listen(0, '127.0.0.1');
    });
    afterAll(() => app.close());

    it('is 403 for everyone who is known and 401 for everyone else', async () => {
      const url = `${await app.getUrl()}/forgotten`;
      for (const token of [...Object.values(TOKENS), 'change_token'])
        expectProblem(await signedRequest('GET', url, undefined, { token }), 'forbidden');
      expectProblem(await signedRequest('GET', url, undefined, { token: null }), 'unauthorized');
    });
  });
});
