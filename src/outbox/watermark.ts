/**
 * Of the claims that take everything, one in this time looks back as far as the read watermark; the others only as far
 * as LATE_MS.
 */
const WIDE_LOOK_MS = 250;
/**
 * A message becomes visible when it is written and can be seen when its transaction commits; most commit within this
 * time.
 */
const LATE_MS = 500;

/**
 * From when on a claim looks for what is due. Below it lie versions of heads that are dead, and while a long
 * transaction keeps them alive, each claim that starts below them walks over all of them. The read watermark is five
 * seconds and more behind: at 1 500 messages a second that is ten thousand versions. So what a claim has emptied
 * counts, too: later claims start a little before it, and a few times a second one starts from the read watermark, for
 * what a slow transaction has committed since. Clocks are of `performance.now()`.
 */
export class Watermark {
  readAt = -Infinity;
  private floor = new Date(0);
  /** What to add to this process's clock for the database's, at most: a floor must rather be too early. */
  private clockOffsetMs = 0;
  private drainedAt = -Infinity;
  private wideAt = -Infinity;

  /** `asked` and `answered`: when the watermark was asked for and when it was here. */
  read({ floor, now }: { readonly floor: Date; readonly now: Date }, asked: number, answered: number): void {
    this.floor = floor;
    this.clockOffsetMs = now.getTime() - answered;
    this.readAt = asked;
  }

  /** A claim that was asked for then left nothing behind that was due and free. */
  drained(asked: number): void {
    this.drainedAt = asked;
  }

  floorAt(asked: number): Date {
    if (this.drainedAt === -Infinity || asked - this.wideAt >= WIDE_LOOK_MS) {
      this.wideAt = asked;
      return this.floor;
    }
    return new Date(Math.max(this.floor.getTime(), this.clockOffsetMs + this.drainedAt - LATE_MS));
  }
}
