/** Reads environment variables for a mock's main.ts. A variable set to nothing counts as not set. */
export class Environment {
  constructor(private readonly variables: Record<string, string | undefined>) {}

  /** The first of the names that is set, else the fallback. */
  text(names: readonly string[], fallback: string): string {
    for (const name of names) {
      const value = this.variables[name];
      if (value !== undefined && value !== '') return value;
    }
    return fallback;
  }

  /** A port, 0 to 65535. Throws on anything else. */
  port(name: string, fallback: number): number {
    const port = Number(this.digits(name, fallback.toString()));
    if (port > 65535) throw new Error(`${name} must be a port from 0 to 65535`);
    return port;
  }

  /** A whole number of any size, for amounts in minor units. Throws on anything else. */
  minor(name: string, fallback: bigint): bigint {
    return BigInt(this.digits(name, fallback.toString()));
  }

  /** One of two words as a boolean, e.g. on|off. Throws on anything else. */
  choice(name: string, yes: string, no: string, fallback: boolean): boolean {
    const value = this.text([name], fallback ? yes : no).toLowerCase();
    if (value !== yes && value !== no) throw new Error(`${name} must be ${yes} or ${no}`);
    return value === yes;
  }

  private digits(name: string, fallback: string): string {
    const value = this.text([name], fallback);
    if (!/^\d+$/.test(value)) throw new Error(`${name} must be a whole number`);
    return value;
  }
}
