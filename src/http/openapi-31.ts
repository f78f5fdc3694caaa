type Node = Record<string, unknown>;

/**
 * Turns what Nest writes, which is the language of OpenAPI 3.0, into that of 3.1, in place: `nullable` is a type of its
 * own there.
 */
export function toOpenApi31(node: unknown): void {
  if (Array.isArray(node)) return node.forEach(toOpenApi31);
  if (typeof node !== 'object' || node === null) return;
  const schema = node as Node;
  if (schema.nullable === true) {
    // Generators overlook null among the words of an enum, and understand it as a choice of its own.
    if (Array.isArray(schema.enum)) {
      schema.oneOf = [{ type: schema.type ?? 'string', enum: schema.enum as unknown[] }];
      delete schema.enum;
      delete schema.type;
    }
    if (typeof schema.type === 'string') schema.type = [schema.type, 'null'];
    for (const choice of ['oneOf', 'anyOf'] as const)
      if (Array.isArray(schema[choice])) schema[choice] = [...(schema[choice] as unknown[]), { type: 'null' }];
    if (Array.isArray(schema.allOf) && schema.allOf.length === 1) {
      schema.oneOf = [...(schema.allOf as unknown[]), { type: 'null' }];
      delete schema.allOf;
    }
  }
  // An example may have a member of that name, and is not a schema.
  if (typeof schema.nullable === 'boolean') delete schema.nullable;
  for (const [name, value] of Object.entries(schema))
    if (name !== 'example' && name !== 'examples' && name !== 'default') toOpenApi31(value);
}
