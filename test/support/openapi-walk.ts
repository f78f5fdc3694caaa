export type Json = Record<string, any>;

/** One operation of an OpenAPI document, with everything that a caller may put into it. */
export interface WalkedOperation {
  readonly id: string;
  readonly method: string;
  /** With parameters as {name}. */
  readonly path: string;
  readonly signed: boolean;
  readonly open: boolean;
  readonly parameters: readonly {
    readonly in: 'path' | 'query' | 'header';
    readonly name: string;
    readonly required: boolean;
    readonly schema: Json;
    readonly sample: unknown;
  }[];
  /** Schema of the JSON body; undefined for an operation without one. */
  readonly body: Json | undefined;
  readonly bodySamples: readonly Json[];
}

/** Every operation that the document names. */
export function walkOperations(document: Json): WalkedOperation[] {
  const resolve = (node: Json): Json => (typeof node.$ref === 'string' ? resolve(pointed(document, node.$ref)) : node);
  return Object.entries(document.paths as Json).flatMap(([path, methods]) =>
    Object.entries(methods as Json).map(([method, spec]: [string, Json]) => {
      const parameters = ((spec.parameters ?? []) as Json[]).map(resolve).map((parameter) => {
        const schema = resolve(parameter.schema ?? {});
        return {
          in: parameter.in as 'path' | 'query' | 'header',
          name: String(parameter.name),
          required: parameter.required === true,
          schema,
          sample: parameter.example ?? schema.example ?? sampleOf(schema),
        };
      });
      const media: Json | undefined =
        spec.requestBody === undefined ? undefined : resolve(spec.requestBody).content?.['application/json'];
      const body = media === undefined ? undefined : flatten(resolve(media.schema), resolve);
      const examples = Object.values((media?.examples ?? {}) as Json).map(({ value }) => value as Json);
      return {
        id: String(spec.operationId),
        method: method.toUpperCase(),
        path,
        signed: ((spec.security ?? []) as Json[]).some((requirement) =>
          Object.keys(requirement).some((scheme) => scheme.endsWith('Signature')),
        ),
        open: (spec.security ?? []).length === 0,
        parameters,
        body,
        bodySamples: body === undefined ? [] : examples.length > 0 ? examples : [sampleOf(body) as Json],
      };
    }),
  );
}

/** A value that the schema takes: its example, else its default, else the plainest of its type. */
export function sampleOf(schema: Json): unknown {
  if (schema.example !== undefined) return schema.example;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum !== undefined) return schema.enum[0];
  // What may be null is a choice of types, or of schemas.
  if (Array.isArray(schema.type))
    return sampleOf({ ...schema, type: (schema.type as string[]).find((type) => type !== 'null') });
  if (schema.oneOf !== undefined) return sampleOf((schema.oneOf as Json[])[0] ?? {});
  if (schema.type === 'object' || schema.properties !== undefined)
    return Object.fromEntries(
      Object.entries((schema.properties ?? {}) as Json).map(([name, property]) => [name, sampleOf(property as Json)]),
    );
  if (schema.type === 'array') return [sampleOf(schema.items ?? {})];
  if (schema.type === 'integer' || schema.type === 'number') return schema.minimum ?? 1;
  if (schema.type === 'boolean') return true;
  return 'a'.repeat(Math.max(schema.minLength ?? 1, 1));
}

/** With all references and compositions put in place, so that fields can be walked. */
function flatten(schema: Json, resolve: (node: Json) => Json): Json {
  const { allOf, ...own } = resolve(schema);
  const merged: Json = (allOf ?? []).reduce((all: Json, part: Json) => ({ ...all, ...flatten(part, resolve) }), own);
  if (merged.properties !== undefined)
    merged.properties = Object.fromEntries(
      Object.entries(merged.properties as Json).map(([name, property]) => [name, flatten(property as Json, resolve)]),
    );
  if (merged.items !== undefined) merged.items = flatten(merged.items as Json, resolve);
  return merged;
}

function pointed(document: Json, reference: string): Json {
  const found: unknown = reference
    .slice(2)
    .split('/')
    .reduce((node: any, part) => node?.[part], document);
  if (found === undefined) throw new Error(`${reference} leads nowhere`);
  return found as Json;
}
