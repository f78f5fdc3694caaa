/**
 * Files of undici that its index also loads, with its fetch, its WebSocket and its caches: 5 MB of every hub, which
 * nothing here uses. Its version is pinned, and the tests of partner-http find a move.
 */
declare module 'undici/lib/dispatcher/agent' {
  import { Agent } from 'undici';

  export default Agent;
}

declare module 'undici/lib/core/connect' {
  import { buildConnector } from 'undici';

  export default buildConnector;
}

declare module 'undici/lib/core/symbols' {
  export const kSocket: unique symbol;
  export const kParser: unique symbol;
}
