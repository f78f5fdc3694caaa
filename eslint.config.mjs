import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.data/', 'coverage/'] },
  ...tseslint.configs.recommendedTypeChecked.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-definitions': ['error', 'interface'],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-console': 'error',
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'The environment is read once: main.ts hands it to config.ts.' },
      ],
      'no-restricted-globals': [
        'error',
        { name: 'parseFloat', message: 'Money is never a float; see src/kernel/money.ts.' },
      ],
    },
  },
  {
    // Entry points, tools and tests read their own environment and talk to a terminal.
    files: [
      'src/main.ts',
      'src/admin/verify-audit.ts',
      'src/reconciliation/cli/main.ts',
      'src/database/data-source.ts',
      'src/database/migrate-main.ts',
      'mocks/**/main.ts',
      'test/**/*.ts',
      'tools/**/*.ts',
    ],
    rules: { 'no-restricted-properties': 'off', 'no-console': 'off' },
  },
  {
    // Takes the PG… variables of the shell away; it reads none.
    files: ['src/database/embedded/embedded-postgres.ts'],
    rules: { 'no-restricted-properties': 'off' },
  },
  {
    // Supertest bodies and problem documents are untyped JSON by nature; a test asserts what is in them.
    files: ['test/**/*.ts', 'tools/**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  // Nest's own pattern: a decorated method is bound by the framework.
  { files: ['**/*.ts'], rules: { '@typescript-eslint/unbound-method': 'off' } },
);
