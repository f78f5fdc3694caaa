import { Environment } from '../shared/environment';
import { closeOnSignals } from '../shared/stop';
import { startMockRgs } from './start';

/** The mock RGS as a program: settings from the environment, SIGTERM and SIGINT stop it. */
async function main(): Promise<void> {
  const environment = new Environment(process.env);
  const rgs = await startMockRgs({
    port: environment.port('PORT', 8002),
    host: environment.text(['HOST'], '127.0.0.1'),
    hmacSecret: environment.text(['HMAC_SECRET'], 'change_secret'),
    signatureRequired: environment.choice('SIGNATURE_REQUIRED', 'true', 'false', true),
  });
  closeOnSignals(rgs);
  console.log(`mock RGS listens on ${rgs.url}`);
}

// A start that fails rejects here, and Node then ends the process with the error and status 1.
void main();
