// The order of the house: a folder of src may import only folders that stand before it in this list.
const ORDER = [
  'kernel',
  'json',
  'config',
  'observability',
  'database',
  'scheduling',
  'audit',
  'partners',
  'http',
  'outbox',
  'wallet',
  'webhooks',
  'reconciliation',
  'admin',
];

const order = ORDER.map((name, index) => ({
  name: `${name}-imports-only-what-comes-before`,
  severity: 'error',
  from: { path: `^src/${name}/` },
  to: { path: `^src/((${ORDER.slice(index + 1).join('|') || 'nothing'})/|app[.]module|main)` },
}));

// The same inside reconciliation: calendar and sources know nothing of runs, a run nothing of its reports, and so on up to the routes.
const RECONCILIATION = [
  'calendar',
  'sources',
  'run',
  'reports',
  'matching',
  'engine',
  'legacy',
  'runs',
  'exceptions',
  'schedules',
  'cli',
];

const reconciliationOrder = RECONCILIATION.map((name, index) => ({
  name: `reconciliation-${name}-imports-only-what-comes-before`,
  severity: 'error',
  from: { path: `^src/reconciliation/${name}/` },
  to: { path: `^src/reconciliation/((${RECONCILIATION.slice(index + 1).join('|') || 'nothing'})/|[^/]+[.]ts$)` },
}));

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    ...order,
    ...reconciliationOrder,
    {
      name: 'every-folder-of-reconciliation-has-a-place-in-the-order',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: `^src/reconciliation/(?!(${RECONCILIATION.join('|')})/)[^/]+/` },
    },
    {
      name: 'no-circles-of-folders',
      comment: 'Two folders that import each other are one folder, whatever their files do.',
      scope: 'folder',
      severity: 'error',
      from: { path: '^src/reconciliation/' },
      to: { circular: true },
    },
    {
      name: 'every-folder-has-a-place-in-the-order',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: `^src/(?!(${ORDER.join('|')})/)[^/]+/` },
    },
    {
      name: 'kernel-is-plain-typescript',
      comment: 'Money, errors and the clock must be readable and testable without any package.',
      severity: 'error',
      from: { path: '^src/kernel/' },
      to: { dependencyTypesNot: ['local'], pathNot: '^src/kernel/' },
    },
    {
      name: 'only-stores-and-entities-know-typeorm',
      comment: 'Services see Database.transaction and an opaque Tx; SQL lives in stores.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/database/|[.](entity|module)[.]ts$' },
      to: { path: 'node_modules/(typeorm|pg)/' },
    },
    {
      name: 'mocks-know-only-the-contract',
      comment: 'A mock that imported our signing code could not find a fault in it.',
      severity: 'error',
      from: { path: '^mocks/' },
      to: { path: '^(src|test|tools)/' },
    },
    {
      name: 'the-hub-knows-no-mock-and-no-test',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(mocks|test|tools)/' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'nothing-unused',
      comment:
        'A file without an importer is dead, or an entry point that belongs in this list. Types of a package are for the compiler alone.',
      severity: 'error',
      from: { orphan: true, path: '^(src|mocks)/', pathNot: '(main|data-source)[.]ts$|[.]d[.]ts$|/migrations/' },
      to: {},
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'require', 'node', 'default'] },
  },
};
