/** The part of newman that the tests use; the package brings no types. */
declare module 'newman' {
  export interface RunOptions {
    readonly collection: object;
    readonly envVar?: readonly { readonly key: string; readonly value: string }[];
    readonly reporters?: readonly string[];
    readonly folder?: string;
  }

  export interface RunSummary {
    readonly run: {
      readonly failures: readonly {
        readonly error: { readonly test?: string; readonly message: string };
        readonly source?: { readonly name?: string };
      }[];
      readonly executions: readonly {
        readonly item: { readonly name: string };
        readonly response?: { readonly code: number };
        readonly assertions?: readonly unknown[];
      }[];
    };
  }

  export function run(options: RunOptions, done: (error: Error | null, summary: RunSummary) => void): void;
}
