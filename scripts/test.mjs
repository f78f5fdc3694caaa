// `npm test [-- jest's arguments]`: some tests start real hub processes from dist/, so that is brought up to date
// first.
import path from 'node:path';
import { buildIfNeeded, installIfNeeded } from './install.mjs';
import { pinnedNode, requireNode, root, run } from './run.mjs';

requireNode();
await installIfNeeded();
await buildIfNeeded();
process.exitCode = await run(pinnedNode(), [
  path.join(root, 'node_modules', 'jest', 'bin', 'jest.js'),
  ...process.argv.slice(2),
]);
