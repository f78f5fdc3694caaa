import { listen, type ListenOptions, type RunningServer } from '../shared/server';
import { RgsModule } from './rgs.module';
import { RgsSettings } from './settings';

/** Where to listen (default 127.0.0.1, any free port), and every setting that is not to have its default. */
export type MockRgsOptions = Partial<ListenOptions> & Partial<Omit<RgsSettings, 'change' | 'shown'>>;

export interface MockRgs extends RunningServer {
  /** The app's own settings: a change takes effect with the next call. */
  settings: RgsSettings;
}

/** Starts a game server in this process. Rejects when the port is taken. */
export async function startMockRgs(options: MockRgsOptions = {}): Promise<MockRgs> {
  const { port = 0, host = '127.0.0.1', ...values } = options;
  const settings = new RgsSettings(values);
  const server = await listen(RgsModule.with(settings), { port, host });
  return { ...server, settings };
}
