import { INTERCEPTORS_METADATA, METHOD_METADATA } from '@nestjs/common/constants';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { DurableResponses } from '../../src/http/durable-responses';

const SRC = path.resolve(__dirname, '../../src');
type Controller = new (...args: never[]) => object;

const controllers = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.controller.ts'))
  .flatMap((file) => Object.values(jest.requireActual<Record<string, unknown>>(path.join(SRC, file))))
  .filter((exported): exported is Controller => typeof exported === 'function' && /Controller$/.test(exported.name));

const interceptorsOf = (target: object): unknown[] =>
  (Reflect.getMetadata(INTERCEPTORS_METADATA, target) as unknown[] | undefined) ?? [];

/** Of each route, how often its answer is made durable before it leaves. */
const routes = controllers.flatMap((controller) =>
  Object.getOwnPropertyNames(controller.prototype)
    .map((name) => [name, (controller.prototype as Record<string, unknown>)[name]] as const)
    .filter(([, handler]) => typeof handler === 'function' && Reflect.hasMetadata(METHOD_METADATA, handler))
    .map(([name, handler]) => ({
      route: `${controller.name}.${name}`,
      times: [...interceptorsOf(controller), ...interceptorsOf(handler as object)].filter(
        (each) => each === DurableResponses,
      ).length,
    })),
);

describe('the answer of a route', () => {
  it('waits until what it tells is durable, on every route but those whose own commit says it', () => {
    expect(routes.length).toBeGreaterThan(20);
    const [hot, others] = [routes.filter(({ times }) => times === 0), routes.filter(({ times }) => times !== 0)];
    expect(hot.map(({ route }) => route).toSorted()).toEqual([
      'HealthController.getHealth',
      'HealthController.getLiveness',
      'HealthController.getMetrics',
      'HealthController.getReadiness',
      'OperatorCallbacksController.receiveOperatorCallback',
      'WalletController.credit',
      'WalletController.debit',
    ]);
    expect(new Set(others.map(({ times }) => times))).toEqual(new Set([1]));
  });
});
