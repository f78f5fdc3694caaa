import { common } from './jest.config.mjs';

/** What only a browser can show; see test/browser. */
export default { ...common, testMatch: ['**/test/browser/*.spec.ts'], testTimeout: 300_000, maxWorkers: 1 };
