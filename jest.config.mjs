const swc = [
  '@swc/jest',
  {
    jsc: {
      target: 'es2023',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true },
      keepClassNames: true,
    },
    module: { type: 'commonjs' },
    sourceMaps: 'inline',
  },
];

// These packages ship ES modules only. Jest's CommonJS registry cannot require() them, so they are transformed too;
// the alternative, --experimental-vm-modules, would make every test depend on an experimental flag.
const esmOnly = ['@nestjs', 'file-type', 'strtok3', 'token-types', 'uint8array-extras', '@tokenizer', '@borewit', 'load-esm', 'axios', 'uuid', 'stream-json', 'stream-chain', 'temporal-polyfill', 'temporal-utils'];

export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.spec.ts'],
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  transform: { '^.+\\.(ts|js|mjs)$': swc },
  transformIgnorePatterns: [`/node_modules/(?!(${esmOnly.join('|')})/)`],
  testTimeout: 30_000,
  // One worker: the two cores are shared with Postgres and the hub processes that tests start.
  maxWorkers: 1,
  workerIdleMemoryLimit: '1GB',
};
