interface Layer {
  readonly route?: { readonly methods: Readonly<Record<string, boolean>> };
  /** Throws for a path whose escapes cannot be decoded. */
  match(path: string): unknown;
}

/** Methods of the routes that have this path, as the running router knows them; empty for a path that no route has. */
export function methodsOf(
  express: { readonly router: { readonly stack: readonly unknown[] } },
  path: string,
): readonly string[] {
  const methods = new Set<string>();
  for (const layer of express.router.stack as readonly Layer[]) {
    if (layer.route === undefined || !matches(layer, path)) continue;
    for (const method of Object.keys(layer.route.methods)) methods.add(method.toUpperCase());
  }
  // Express answers HEAD by the route of GET.
  if (methods.has('GET')) methods.add('HEAD');
  return [...methods].sort();
}

function matches(layer: Layer, path: string): boolean {
  try {
    return Boolean(layer.match(path));
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}
