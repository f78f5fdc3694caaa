import type { OutcomeClass } from '../partners/operator-wire';

/** Why a movement did not end as it was asked for, in words that are the same for every operator. */
export const REASON_CODES = [
  'insufficient_funds',
  'player_blocked',
  'limit_reached',
  'bet_not_allowed',
  'operator_misconfigured',
  'deadline',
  'rolled_back',
  'other',
] as const;
export type ReasonCode = (typeof REASON_CODES)[number];

/**
 * What operators write, lower case with "_" for all but letters and digits. The first that fits counts, so what is said
 * of money comes first.
 */
const WORDS: readonly (readonly [RegExp, ReasonCode])[] = [
  [
    /insufficient|not_enough|no_(funds|money|balance|credit)|out_of_(funds|money|balance)|(low|balance)_(balance|too_low)|overdra/,
    'insufficient_funds',
  ],
  [
    /limit|exceed|too_(high|large|much)|max(imum)?_(bet|stake|amount|loss)|cool(ing)?_?off|reality_check/,
    'limit_reached',
  ],
  [
    /(player|account|user|customer|wallet|member)_(is_)?(not_active|inactive|blocked|locked|suspended|disabled|closed|frozen|banned|excluded)|self_?exclu|^(blocked|locked|suspended|banned|frozen|excluded)$/,
    'player_blocked',
  ],
  [
    /not_(allowed|permitted|available|supported)|(bet|stake|game|wager)_(is_)?(refused|denied|rejected|blocked|disabled|closed|forbidden)|jurisdiction|restricted|under_?age|invalid_(bet|stake|game)/,
    'bet_not_allowed',
  ],
];

/** Of what an operator said or the hub found out; null when it is no reason for an end. */
export function reasonCodeOf(said: OutcomeClass, reason: string | null): ReasonCode | null {
  switch (said) {
    case 'expired':
    case 'absent':
      return hubReasonCode(reason);
    case 'rejected_business':
      return codeOfWord(reason) ?? 'other';
    case 'rejected_contract':
      // It refused the call and not the debit: a wrong key, a wrong address, a field that it does not know. The RGS can
      // do nothing about it.
      return codeOfWord(reason) ?? 'operator_misconfigured';
    case 'applied':
    case 'throttled':
    case 'accepted':
    case 'unknown':
      return null;
  }
}

/** Of a reason that the hub or a person gives. */
export function hubReasonCode(reason: string | null): ReasonCode | null {
  return reason === null ? null : reason === 'deadline' || reason === 'rolled_back' ? reason : 'other';
}

/** Of a movement that ended before codes were stored. */
export function reasonCodeOfFormer(reason: string | null): ReasonCode | null {
  return reason === null
    ? null
    : reason === 'deadline' || reason === 'rolled_back'
      ? reason
      : (codeOfWord(reason) ?? 'other');
}

function codeOfWord(reason: string | null): ReasonCode | undefined {
  const word = (reason ?? '')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_|_$/g, '');
  return WORDS.find(([pattern]) => pattern.test(word))?.[1];
}
