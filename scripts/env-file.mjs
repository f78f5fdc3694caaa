// `.env` of the project's folder, as docker compose reads it: what the shell has set wins.
import fs from 'node:fs';
import path from 'node:path';
import { parseEnv } from 'node:util';
import { root } from './run.mjs';

/**
 * Sets what is not set, and answers the names: those taken from the file, and those that the shell has set to something
 * else.
 */
export function loadEnvFile() {
  const file = path.join(root, '.env');
  if (!fs.existsSync(file)) return { taken: [], kept: [] };
  const taken = [];
  const kept = [];
  for (const [name, value] of Object.entries(parseEnv(fs.readFileSync(file, 'utf8')))) {
    if (value.trim() === '') continue;
    if (!process.env[name]) {
      process.env[name] = value;
      taken.push(name);
    } else if (process.env[name] !== value) kept.push(name);
  }
  return { taken, kept };
}
