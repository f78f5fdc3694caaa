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
const esmOnly = [
  '@nestjs',
  'file-type',
  'strtok3',
  'token-types',
  'uint8array-extras',
  '@tokenizer',
  '@borewit',
  'load-esm',
  'axios',
  'uuid',
  'temporal-polyfill',
  'temporal-utils',
];

// These judge by the clock: beside another test they could fail for no fault of the hub. So they run one by one, after the others.
const alone = ['outbox-isolation', 'wait'].map((name) => `<rootDir>/test/integration/${name}.spec.ts`);

/** Needs a browser, and so is a run of its own: npm run test:browser. */
const inBrowser = '/test/browser/';

export const common = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  transform: { '^.+\\.(ts|js|mjs)$': swc },
  transformIgnorePatterns: [`/node_modules/(?!(${esmOnly.join('|')})/)`],
};

export default {
  testTimeout: 30_000,
  // Two cores are what a runner has. Most tests wait half of their time, for a time-out, a lease or Postgres; two at once fill both.
  maxWorkers: 2,
  workerIdleMemoryLimit: '1GB',
  testSequencer: '<rootDir>/test/support/sequencer.mjs',
  projects: [
    {
      ...common,
      displayName: 'together',
      testMatch: ['**/*.spec.ts'],
      testPathIgnorePatterns: [...alone.map((file) => file.replaceAll('.', '\\.')), inBrowser],
    },
    { ...common, displayName: 'alone', testMatch: alone, runner: '<rootDir>/test/support/serial-runner.mjs' },
  ],
};
