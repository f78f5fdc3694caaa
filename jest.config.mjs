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

// These judge by the clock: beside another test they could fail for no fault of the hub. So they run one by one, after
// the others.
const alone = ['outbox/isolation', 'wallet/wait'].map((name) => `<rootDir>/test/${name}.spec.ts`);

/** Needs a browser, and so is a run of its own: npm run test:browser. */
const inBrowser = '/test/browser/';

export const common = {
  testEnvironment: '<rootDir>/test/support/jest/node-context.environment.mjs',
  runtime: '<rootDir>/test/support/jest/packages-once.runtime.mjs',
  roots: ['<rootDir>/test'],
  globalSetup: '<rootDir>/test/support/jest/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/jest/global-teardown.ts',
  transform: { '^.+\\.ts$': swc },
};

export default {
  testTimeout: 30_000,
  // Two cores are what a runner has. Most tests wait half of their time, for a time-out, a lease or Postgres; two at
  // once fill both.
  maxWorkers: 2,
  workerIdleMemoryLimit: '1GB',
  testSequencer: '<rootDir>/test/support/jest/sequencer.mjs',
  projects: [
    {
      ...common,
      displayName: 'together',
      testMatch: ['**/*.spec.ts'],
      testPathIgnorePatterns: [...alone.map((file) => file.replaceAll('.', '\\.')), inBrowser],
    },
    { ...common, displayName: 'alone', testMatch: alone, runner: '<rootDir>/test/support/jest/serial-runner.mjs' },
  ],
};
