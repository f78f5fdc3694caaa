/** Lets a loop sleep until it is woken or a time has passed. A wake-up that comes before the sleep is not lost. */
export class Signal {
  private raised = false;
  private wakeUp: (() => void) | undefined;

  raise(): void {
    this.raised = true;
    this.wakeUp?.();
  }

  async wait(ms: number): Promise<void> {
    if (!this.raised) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.wakeUp = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.wakeUp = undefined;
    }
    this.raised = false;
  }
}
