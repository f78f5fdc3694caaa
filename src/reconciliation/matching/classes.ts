export type Severity = 'critical' | 'high' | 'medium' | 'low';
export type NextAction =
  'replay_rgs' | 'requery_operator' | 'import' | 'escalate' | 'compare' | 'resolve_parked' | 'none';

export interface ClassRule {
  readonly class: string;
  readonly severity: Severity;
  readonly nextAction: NextAction;
}

/**
 * What can be wrong with a key, in the order in which sql/14-classified.sql looks for it; the first that applies is the primary class. Where the money is comes before what it is: a booking that
 * is missing needs action immediately, a difference in a field can be looked up.
 */
export const CLASS_RULES = [
  { class: 'correlation_mismatch', severity: 'medium', nextAction: 'compare' },
  { class: 'duplicate', severity: 'critical', nextAction: 'escalate' },
  { class: 'orphan_rgs', severity: 'critical', nextAction: 'escalate' },
  { class: 'orphan_operator', severity: 'critical', nextAction: 'escalate' },
  { class: 'missing_in_hub', severity: 'critical', nextAction: 'import' },
  { class: 'undelivered', severity: 'high', nextAction: 'requery_operator' },
  { class: 'missing_in_operator', severity: 'critical', nextAction: 'requery_operator' },
  { class: 'missing_in_rgs', severity: 'high', nextAction: 'replay_rgs' },
  { class: 'currency', severity: 'critical', nextAction: 'compare' },
  { class: 'direction', severity: 'critical', nextAction: 'compare' },
  { class: 'amount', severity: 'critical', nextAction: 'compare' },
  { class: 'bad_amount', severity: 'high', nextAction: 'compare' },
  { class: 'status', severity: 'high', nextAction: 'requery_operator' },
  { class: 'late', severity: 'medium', nextAction: 'compare' },
] as const satisfies readonly ClassRule[];

/** Hours within which an exception should be resolved. */
export const DUE_HOURS: Readonly<Record<Severity, number>> = { critical: 4, high: 24, medium: 72, low: 168 };
