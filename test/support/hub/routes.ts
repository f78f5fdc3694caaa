import type { INestApplication } from '@nestjs/common';
import { randomUUID } from 'node:crypto';

/** A route as the router of the running app knows it, with parameters as ":name". */
export interface Route {
  readonly method: string;
  readonly path: string;
}

interface RouterLayer {
  readonly route?: { readonly path: string; readonly methods: Readonly<Record<string, boolean>> };
}

/** Every route that is really mounted. A list kept by hand would miss just the route that somebody forgot. */
export function routesOf(app: INestApplication): Route[] {
  const { router } = app.getHttpAdapter().getInstance() as { router: { stack: readonly RouterLayer[] } };
  return router.stack.flatMap(({ route }) =>
    route === undefined
      ? []
      : Object.keys(route.methods).map((method) => ({ method: method.toUpperCase(), path: route.path })),
  );
}

/** A path that could be called: well-formed parameters that name nothing. */
export function callablePath({ path }: Route): string {
  return path.replace(/:(\w+)/g, (_all, name: string) => (name === 'queue' ? 'operator' : randomUUID()));
}

/** The form that OpenAPI has for the same path. */
export function openApiPath(path: string): string {
  return path.replace(/:(\w+)/g, '{$1}');
}
