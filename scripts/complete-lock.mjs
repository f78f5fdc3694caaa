// Completes package-lock.json after `npm install` on a registry that lacks some platform packages.
// npm drops an optional package it cannot see from the lock, and `npm ci` then refuses the lock as out of step.
// A stub entry (version and platform, no integrity) is enough for `npm ci` to accept it, here and elsewhere.
import fs from 'node:fs';

const file = 'package-lock.json';
const lock = JSON.parse(fs.readFileSync(file, 'utf8'));
const systems = ['darwin', 'win32', 'linux', 'android', 'freebsd', 'openharmony', 'sunos', 'aix', 'netbsd', 'openbsd'];
const processors = ['arm64', 'x64', 'ia32', 'arm', 'ppc64', 's390x', 'riscv64', 'loong64', 'wasm32', 'mips64el'];

let added = 0;
for (const [key, entry] of Object.entries({ ...lock.packages })) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const nested = key ? `${key}/node_modules/${name}` : undefined;
    if (lock.packages[`node_modules/${name}`] || (nested && lock.packages[nested])) continue;
    const parts = name.split('/').pop().split('-');
    const os = systems.find(
      (s) => parts.includes(s) || (s === 'win32' && (parts.includes('win') || parts.includes('windows'))),
    );
    const cpu = processors.find((c) => parts.includes(c));
    lock.packages[`node_modules/${name}`] = {
      version: range.replace(/^[\^~]/, ''),
      ...(cpu ? { cpu: [cpu] } : {}),
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
      ...(os ? { os: [os] } : {}),
    };
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
fs.writeFileSync(file, JSON.stringify(lock, null, 2) + '\n');
console.log(`package-lock.json: ${added} platform packages added`);
