/** The agent alone: the package's index also loads its fetch, its WebSocket and its caches, which take 5 MB of every hub and which nothing here uses. */
declare module 'undici/lib/dispatcher/agent' {
  import { Agent } from 'undici';

  export default Agent;
}
