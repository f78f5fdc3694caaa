import { Environment } from '../shared/environment';
import { closeOnSignals } from '../shared/stop';
import { startMockOperator } from './start';

/** The mock operator as a program: settings from the environment, SIGTERM and SIGINT stop it. */
async function main(): Promise<void> {
  const environment = new Environment(process.env);
  const operator = await startMockOperator({
    port: environment.port('PORT', 8001),
    host: environment.text(['HOST'], '127.0.0.1'),
    hubUrl: environment.text(['HUB_URL'], 'http://localhost:8000'),
    token: environment.text(['OPERATOR_TOKEN', 'BEARER_TOKEN'], 'change_token'),
    hmacSecret: environment.text(['OPERATOR_HMAC_SECRET', 'HMAC_SECRET'], 'change_secret'),
    signatureRequired: environment.choice('SIGNATURE_REQUIRED', 'true', 'false', true),
    callbacks: environment.choice('CALLBACKS', 'on', 'off', true),
    startingBalanceMinor: environment.minor('STARTING_BALANCE_MINOR', 100_000_000n),
    supportedCurrencies: environment
      .text(['SUPPORTED_CURRENCIES'], 'USD,EUR')
      .split(',')
      .map((code) => code.trim()),
  });
  closeOnSignals(operator);
  console.log(`mock operator listens on ${operator.url}`);
}

// A start that fails rejects here, and Node then ends the process with the error and status 1.
void main();
