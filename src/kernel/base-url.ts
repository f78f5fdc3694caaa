/** What a partner's base URL must not be, in words that follow the variable's name; null when it can be called. */
export function baseUrlViolation(text: string): string | null {
  if (!URL.canParse(text) || !['http:', 'https:'].includes(new URL(text).protocol))
    return 'must be a URL with http: or https:';
  // A fragment is never sent to the server, so its author meant something else.
  return text.includes('#')
    ? 'must not have a fragment (#): it would never be sent; write a # of a path, query or password as %23'
    : null;
}

/**
 * The one rule for calls, lists and questions: `path` comes after the base's path, with or without a slash at its end,
 * and the base's query stays after both, with that of `path` behind it. An empty path is the base itself: the webhook
 * of an RGS.
 */
export function underBase(baseUrl: string, path: string): string {
  if (path === '') return baseUrl;
  const [base = ''] = baseUrl.split('#', 1);
  const query = base.indexOf('?');
  if (query < 0) return base.replace(/\/+$/, '') + path;
  const added = path.indexOf('?');
  const parts = [base.slice(query + 1), added < 0 ? '' : path.slice(added + 1)].filter((part) => part !== '');
  return `${base.slice(0, query).replace(/\/+$/, '')}${added < 0 ? path : path.slice(0, added)}${parts.length === 0 ? '' : `?${parts.join('&')}`}`;
}

/** A URL as it may be shown: no user, no password, and no query, since some partners want a key there. */
export function shownUrl(text: string): string {
  if (!URL.canParse(text)) return 'not a URL';
  const { origin, pathname } = new URL(text);
  return origin + pathname;
}

/**
 * Takes user and password out of a URL: they go into a header, so that no error, log or list of the library below can
 * hold them.
 */
export function splitCredentials(text: string): { readonly url: URL; readonly authorization: string | null } {
  const url = new URL(text);
  if (url.username === '' && url.password === '') return { url, authorization: null };
  const userinfo = Buffer.concat([percentDecoded(url.username), Buffer.from(':'), percentDecoded(url.password)]);
  url.username = '';
  url.password = '';
  return { url, authorization: `Basic ${userinfo.toString('base64')}` };
}

/**
 * Bytes of a text of which URL has escaped all but ASCII. A bare %, on which decodeURIComponent throws, is one: a
 * password may well contain it.
 */
function percentDecoded(text: string): Buffer {
  return Buffer.from(
    text.replace(/%([0-9a-f]{2})/gi, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
}
