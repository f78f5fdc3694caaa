import { listen, type ListenOptions, type RunningServer } from '../shared/server';
import { OperatorModule } from './operator.module';
import { OperatorSettings } from './settings';

/** Where to listen (default 127.0.0.1, any free port), and every setting that is not to have its default. */
export type MockOperatorOptions = Partial<ListenOptions> & Partial<Omit<OperatorSettings, 'change' | 'shown'>>;

export interface MockOperator extends RunningServer {
  /** The app's own settings: a change takes effect with the next call. */
  settings: OperatorSettings;
}

/** Starts a wallet in this process. Rejects when the port is taken. */
export async function startMockOperator(options: MockOperatorOptions = {}): Promise<MockOperator> {
  const { port = 0, host = '127.0.0.1', ...values } = options;
  const settings = new OperatorSettings(values);
  const server = await listen(OperatorModule.with(settings), { port, host });
  return { ...server, settings };
}
