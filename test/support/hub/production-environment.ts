import { randomBytes } from 'node:crypto';

/** All that production demands, and nothing that it refuses. */
export function productionEnvironment(): Record<string, string> {
  const secret = (): string => randomBytes(32).toString('hex');
  const secrets = [
    'RGS_TOKEN',
    'OPERATOR_TOKEN',
    'OPS_TOKEN',
    'FINANCE_TOKEN',
    'HMAC_SECRET',
    'OPERATOR_HMAC_SECRET',
    'RECON_SIGNING_KEY',
  ];
  return {
    ...Object.fromEntries(secrets.map((name) => [name, secret()])),
    NODE_ENV: 'production',
    DATABASE_URL: 'postgres://hub@db.example:5432/hub',
    OPERATOR_BASE_URL: 'https://casino.example/',
    RGS_WEBHOOK_URL: 'https://games.example/webhooks',
  };
}
