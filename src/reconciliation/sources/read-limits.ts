/** How much a reader takes of a partner before it gives up. A class, so that tests can put smaller ones in its place. */
export class ReadLimits {
  /** Asked for per page, and the size of a batch of a bare array. */
  readonly pageRows: number = 5_000;
  /** Of a page after decompression; 5 000 rows have about 1.5 MB. */
  readonly pageBytesMax: number = 16 * 1024 * 1024;
  /** Of a bare array's row; such a list has no pages that could be too large. */
  readonly rowBytesMax: number = 1024 * 1024;
  /** A batch of a bare array ends early at this many bytes. */
  readonly batchBytes: number = 4 * 1024 * 1024;
  /** For a page, or a batch of a bare array, from the request to its last byte. */
  readonly pageMs: number = 30_000;
  /** Tries of one page that is answered with 429, or 503 and Retry-After. */
  readonly throttledTriesMax: number = 10;
  /** A partner that asks for a longer pause is not waited for. */
  readonly retryAfterMsMax: number = 60_000;
  readonly backoffMsMax: number = 30_000;
  /** Pages without a row in a row. */
  readonly emptyPagesMax: number = 100;
  readonly rowsMax: number = 50_000_000;
  /** Reading time of the whole list; storing does not count. */
  readonly listMs: number = 2 * 3600 * 1000;
}
