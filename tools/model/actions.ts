/** Everything that can happen, in plain words; `{}` is what it happens to. */
const WORDS = {
  tick: 'time passes: one tick',
  place: 'the RGS places {}',
  rollback: 'the RGS rolls {} back',
  claim: 'a worker leases {}',
  attempt: 'the worker takes {} in hand',
  leavesLate: 'the worker stood still, and sends {} after its lease ended',
  settle: 'the worker settles {}',
  crash: 'the process with {} dies',
  reset: 'the connection with {} breaks',
  timeOut: 'the call with {} times out',
  found: 'the list holds {}',
  absent: 'the list lacks {}',
  unreadable: 'the list with {} cannot be read',
  ok: 'the operator books {} and says OK',
  bookedAnswerLost: 'the operator books {}, and its answer is lost',
  acceptedAgain: 'the operator says again that it accepted {}',
  noFunds: 'the operator says that there are no funds for {}',
  unauthorized: 'the operator answers 401 to {}',
  throttled: 'the operator answers 429 to {}',
  accepted: 'the operator accepts {} with 202',
  acceptedAnswerLost: 'the operator accepts {} with 202, and its answer is lost',
  acceptedLate: 'the operator accepts a request that nobody waits for: {}',
  booksAndRefuses: 'the operator books {} and says that there are no funds',
  bookedLate: 'a request that nobody waits for books {}',
  dropped: 'a request that nobody waits for is dropped: {}',
  decidesToBook: 'the operator books what it accepted: {}',
  decidesToRefuse: 'the operator refuses what it accepted: {}',
  forgets: 'the operator forgets the reference of {}',
  callbackOk: 'a callback says OK of {}',
  callbackRejected: 'a callback says REJECTED of {}',
  callbackLies: 'a callback says REJECTED of {}, which is booked',
  sweep: 'the deadline worker ends {}',
  replay: 'ops replay {}',
  personApplied: 'a person finds {} booked',
  personNotApplied: 'a person finds {} not booked',
  personRetries: 'a person sends {} again',
} as const;

export type ActionName = keyof typeof WORDS;
/** Index of an action in ACTIONS. */
export type Action = number;

export const ACTIONS = Object.keys(WORDS) as ActionName[];
export const ACTION = Object.fromEntries(ACTIONS.map((name, index) => [name, index])) as Readonly<
  Record<ActionName, Action>
>;

/** Names of what a target is, by the lane's movements. */
export function nameOf(target: number, movements: readonly string[]): string {
  const place = target >> 2;
  const kinds = movements.slice(0, place + 1).filter((movement) => movement === movements[place]).length;
  const noun = movements[place] === 'debit' ? 'bet' : 'win';
  const name = kinds > 1 ? `${noun} ${kinds}` : noun;
  return `${(target & 2) === 0 ? `the ${name}` : `the repayment of the ${name}`}${(target & 1) === 0 ? '' : ' (whose lease another worker has)'}`;
}

export function wordsOf(action: Action, target: number, movements: readonly string[]): string {
  return WORDS[ACTIONS[action] as ActionName].replace('{}', nameOf(target, movements));
}

/** A step as a test writes it down. */
export function keyOf(action: Action, target: number): string {
  return `${ACTIONS[action]} ${target}`;
}
