import { createHub } from '../../src/hub';
import { parseConfig } from '../../src/config/config';
import { EngineLimits } from '../../src/reconciliation/engine/run-engine';

/**
 * The hub, but a reconciliation goes in steps of a few rows: what is killed between two of them must not need a million
 * to have two.
 */
async function main(): Promise<void> {
  const config = parseConfig(process.env);
  const app = await createHub(config);
  const limits: { -readonly [Name in keyof EngineLimits]: EngineLimits[Name] } = app.get(EngineLimits, {
    strict: false,
  });
  limits.bucketRows = Number(process.env.RECON_BUCKET_ROWS);
  await app.listen(config.port, config.host);
}

void main();
