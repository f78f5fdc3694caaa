import fs from 'node:fs';
import path from 'node:path';

/** Of the project, from the tests' source as from their build. */
const ROOT =
  [path.resolve(__dirname, '../../..'), path.resolve(__dirname, '../../../..')].find((folder) =>
    fs.existsSync(path.join(folder, 'package.json')),
  ) ?? '';

/**
 * Arguments for Node that start the built hub exactly as `npm run start:hub` does, or with the same options another
 * program below dist/.
 */
export function hubArguments(program?: string): string[] {
  const { scripts } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const words = (scripts['start:hub'] ?? '').split(' ');
  const args = words.slice(words.indexOf('node') + 1);
  const file = args.pop();
  if (!words.includes('node') || file === undefined)
    throw new Error('start:hub of package.json is not "… node [options] file"');
  const main = path.join(ROOT, program === undefined ? file : `dist/${program}`);
  if (!fs.existsSync(main)) throw new Error('the hub is not built: run npm run build');
  return [...args, main];
}
