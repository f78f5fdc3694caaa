import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { signatureHeaders } from '../shared/signing';
import { OperatorSettings } from './settings';

const TIMEOUT_MS = 10_000;

/** Posts signed JSON to the hub over connections of its own that stay open. */
@Injectable()
export class HubClient implements OnModuleDestroy {
  private readonly httpAgent = new HttpAgent({ keepAlive: true });
  private readonly httpsAgent = new HttpsAgent({ keepAlive: true });

  constructor(private readonly settings: OperatorSettings) {}

  /**
   * Answers the HTTP status, or null when there was none: refused, reset, or no answer in ten seconds. Never rejects.
   */
  post(path: string, body: string): Promise<number | null> {
    const { hubUrl, token, hmacSecret } = this.settings;
    const options = {
      method: 'POST',
      timeout: TIMEOUT_MS,
      headers: {
        Authorization: `Bearer ${token}`,
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
        ...signatureHeaders(hmacSecret, body),
      },
    };
    return new Promise((resolve) => {
      const url = hubUrl + path;
      const request = url.startsWith('https:')
        ? httpsRequest(url, { ...options, agent: this.httpsAgent })
        : httpRequest(url, { ...options, agent: this.httpAgent });
      request.on('response', (response) => {
        // Read to its end, or the connection could not be used again. The status is what counts, even if the rest
        // breaks off.
        response.resume();
        response.on('close', () => resolve(response.statusCode ?? null));
      });
      request.on('timeout', () => request.destroy(new Error('no answer in time')));
      request.on('error', () => resolve(null));
      request.end(body);
    });
  }

  onModuleDestroy(): void {
    this.httpAgent.destroy();
    this.httpsAgent.destroy();
  }
}
