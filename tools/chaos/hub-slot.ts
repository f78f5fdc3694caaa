import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { hubArguments } from '../../test/support/hub/hub-command';

const START_PAUSE_MS = 300;

/**
 * The place of one hub: a port and an environment that stay, and processes that come and go. A process that cannot
 * start is started again, as by any supervisor.
 */
export class HubSlot {
  private child: ChildProcess | undefined;
  private wanted = false;
  private wasReady = false;
  /** Ends that nobody asked for, of processes that had been ready. */
  readonly crashes: string[] = [];
  /** Another built program below dist/ that the next start takes; undefined: the hub itself. */
  program: string | undefined;
  starts = 0;
  failedStarts = 0;

  constructor(
    readonly index: number,
    readonly port: number,
    private readonly env: Readonly<Record<string, string>>,
    readonly logFile: string,
  ) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get isUp(): boolean {
    return this.child !== undefined;
  }

  start(): void {
    this.wanted = true;
    this.wasReady = false;
    this.starts += 1;
    const log = fs.openSync(this.logFile, 'a');
    const child = spawn(process.execPath, hubArguments(this.program), {
      env: { PATH: process.env.PATH ?? '', NODE_ENV: 'test', HOST: '127.0.0.1', PORT: String(this.port), ...this.env },
      stdio: ['ignore', log, log],
    });
    fs.closeSync(log);
    this.child = child;
    child.once('exit', (code, signal) => {
      if (this.child !== child) return;
      this.child = undefined;
      if (!this.wanted) return;
      if (this.wasReady) this.crashes.push(`hub ${this.index} ended by itself (${signal ?? `exit code ${code}`})`);
      else this.failedStarts += 1;
      setTimeout(() => {
        if (this.wanted && this.child === undefined) this.start();
      }, START_PAUSE_MS);
    });
  }

  /** Resolves when the process answers that it is ready; a process that gave up is replaced meanwhile. */
  async ready(withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs;
    while (performance.now() < deadline) {
      const answer = await fetch(`${this.url}/health/ready`, { signal: AbortSignal.timeout(2_000) }).catch(
        () => undefined,
      );
      await answer?.arrayBuffer().catch(() => undefined);
      if (answer?.ok === true) {
        this.wasReady = true;
        return;
      }
      await delay(50);
    }
    throw new Error(`hub ${this.index} was not ready within ${withinMs} ms; see ${this.logFile}`);
  }

  /** Ends the process and waits until it is gone. Answers its exit code, null when a signal killed it. */
  async end(signal: 'SIGKILL' | 'SIGTERM', withinMs = 30_000): Promise<number | null> {
    this.wanted = false;
    const { child } = this;
    if (child === undefined || child.exitCode !== null) return null;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.crashes.push(`hub ${this.index} did not end within ${withinMs} ms of ${signal}`);
        child.kill('SIGKILL');
      }, withinMs);
      child.once('exit', (code) => {
        clearTimeout(timer);
        if (this.child === child) this.child = undefined;
        resolve(code);
      });
      child.kill(signal);
    });
  }
}
