import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Route } from './hub/routes';

interface PostmanEvent {
  readonly listen: string;
  readonly script: { readonly exec: readonly string[] };
}

interface PostmanItem {
  readonly name: string;
  readonly item?: readonly PostmanItem[];
  readonly request?: { readonly method: string; readonly url: { readonly path: readonly string[] } };
  readonly event?: readonly PostmanEvent[];
}

export interface PostmanRequest extends Route {
  readonly name: string;
  readonly tests: string;
}

export interface PostmanCollection {
  readonly item: readonly PostmanItem[];
  readonly event: readonly PostmanEvent[];
  readonly variable: readonly { readonly key: string; readonly value: string }[];
}

export function postmanCollection(): PostmanCollection {
  return JSON.parse(readFileSync(path.join(__dirname, '../../postman_collection.json'), 'utf8')) as PostmanCollection;
}

/** Every request of the collection, with its path as OpenAPI writes it. */
export function postmanRequests(items = postmanCollection().item): PostmanRequest[] {
  return items.flatMap(({ name, item, request, event }) => {
    if (item !== undefined) return postmanRequests(item);
    if (request === undefined) return [];
    const tests = (event ?? [])
      .filter(({ listen }) => listen === 'test')
      .flatMap(({ script }) => script.exec)
      .join('\n');
    return [
      {
        name,
        method: request.method,
        path: `/${request.url.path.map((part) => part.replace(/^:(\w+)$/, '{$1}')).join('/')}`,
        tests,
      },
    ];
  });
}
