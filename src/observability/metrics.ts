import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

const RUN_SECONDS = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600];
const SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Every counter and histogram of the hub, named in one place. Served by GET /metrics. */
export class Metrics {
  readonly registry = new Registry();

  readonly httpSeconds = new Histogram({
    name: 'hub_http_request_seconds',
    help: 'Time from the first byte of a request to its response',
    labelNames: ['method', 'route', 'status'],
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly movements = new Counter({
    name: 'hub_wallet_movements_total',
    help: 'Accept decisions by movement and verdict',
    labelNames: ['movement', 'verdict'],
    registers: [this.registry],
  });
  readonly settled = new Counter({
    name: 'hub_wallet_settled_total',
    help: 'Transactions that reached a state',
    labelNames: ['movement', 'state'],
    registers: [this.registry],
  });
  readonly deadlines = new Counter({
    name: 'hub_wallet_deadlines_total',
    help: 'Debits rejected because their deadline passed, and not because the operator refused them',
    registers: [this.registry],
  });
  readonly contradictions = new Counter({
    name: 'hub_wallet_contradictions_total',
    help: 'Late responses or callbacks that contradict a settled transaction; each is an incident',
    registers: [this.registry],
  });
  readonly parked = new Counter({
    name: 'hub_wallet_parked_total',
    help: 'Transactions that wait for a person: money is owed or the outcome is unknown',
    labelNames: ['movement'],
    registers: [this.registry],
  });
  readonly callbacks = new Counter({
    name: 'hub_operator_callbacks_total',
    help: 'Operator callbacks by verdict',
    labelNames: ['verdict'],
    registers: [this.registry],
  });
  readonly callbacksNotKept = new Counter({
    name: 'hub_operator_callbacks_not_kept_total',
    help: 'Operator callbacks with a response that were not stored: too many unmatched ones, or too many about one transaction',
    labelNames: ['operator', 'reason'],
    registers: [this.registry],
  });
  readonly mismatches = new Counter({
    name: 'hub_operator_mismatches_total',
    help: 'Responses and listed rows of operators about another movement than the hub sent; each is an incident',
    labelNames: ['source', 'field'],
    registers: [this.registry],
  });

  readonly deliveries = new Counter({
    name: 'hub_outbox_deliveries_total',
    help: 'Delivery attempts by queue and outcome class',
    labelNames: ['queue', 'class'],
    registers: [this.registry],
  });
  readonly credentialsRefused = new Counter({
    name: 'hub_outbox_credentials_refused_total',
    help: 'Responses 401 or 403 of an operator: our token or key is wrong there',
    labelNames: ['destination'],
    registers: [this.registry],
  });
  readonly contractRefused = new Counter({
    name: 'hub_outbox_contract_refused_total',
    help: 'Refusals of form by an operator that took no call before them, from the fifth in a row on: our address or form is wrong there',
    labelNames: ['destination'],
    registers: [this.registry],
  });
  readonly deliverySeconds = new Histogram({
    name: 'hub_outbox_delivery_seconds',
    help: 'Time of one delivery attempt, retries within it included',
    labelNames: ['queue'],
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly claimSeconds = new Histogram({
    name: 'hub_outbox_claim_seconds',
    help: 'Time of one claim statement',
    labelNames: ['queue'],
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly settleSeconds = new Histogram({
    name: 'hub_outbox_settle_seconds',
    help: 'Time of one settling transaction',
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly concurrencyLimit = new Gauge({
    name: 'hub_outbox_concurrency_limit',
    help: 'Maximum of concurrent calls of this process to a destination; follows its latency',
    labelNames: ['destination'],
    registers: [this.registry],
  });
  readonly staleSettles = new Counter({
    name: 'hub_outbox_stale_settles_total',
    help: 'Results that came after their lease was lost and changed nothing',
    registers: [this.registry],
  });
  readonly repairedLanes = new Counter({
    name: 'hub_outbox_lanes_repaired_total',
    help: 'Lanes found without a head; must stay 0',
    registers: [this.registry],
  });
  readonly outboxHeads = new Gauge({
    name: 'hub_outbox_heads',
    help: 'Messages that may be sent now or later, by destination and state',
    labelNames: ['destination', 'state'],
    registers: [this.registry],
  });
  readonly outboxLagSeconds = new Gauge({
    name: 'hub_outbox_lag_seconds',
    help: 'Age of the oldest message that is due',
    labelNames: ['destination'],
    registers: [this.registry],
  });
  readonly outboxDead = new Gauge({
    name: 'hub_outbox_dead',
    help: 'Dead letters and blocked messages that need a person',
    labelNames: ['destination'],
    registers: [this.registry],
  });
  readonly breakerOpen = new Gauge({
    name: 'hub_outbox_breaker_open',
    help: '1 while the circuit breaker of a destination is not closed',
    labelNames: ['destination'],
    registers: [this.registry],
  });
  readonly destinationPaused = new Gauge({
    name: 'hub_outbox_destination_paused',
    help: '1 while a destination is paused (an RGS responded 410, or ops paused it)',
    labelNames: ['destination'],
    registers: [this.registry],
  });

  readonly defaultPartitionRows = new Gauge({
    name: 'hub_outbox_default_partition_rows',
    help: 'Rows that no weekly partition fits, counted up to 1000; must stay 0',
    labelNames: ['table'],
    registers: [this.registry],
  });
  readonly deadHeads = new Gauge({
    name: 'hub_outbox_head_dead_rows',
    help: 'Dead row versions of outbox_head that vacuum has not removed yet',
    registers: [this.registry],
  });
  readonly oldestSnapshotSeconds = new Gauge({
    name: 'hub_database_oldest_snapshot_seconds',
    help: 'Age of the oldest transaction whose snapshot keeps dead row versions alive',
    registers: [this.registry],
  });

  readonly reconRunSeconds = new Histogram({
    name: 'recon_run_seconds',
    help: 'Duration of a reconciliation run in this process, by its final state',
    labelNames: ['state'],
    buckets: RUN_SECONDS,
    registers: [this.registry],
  });
  readonly reconRows = new Counter({
    name: 'recon_rows',
    help: 'Rows of sealed reconciliation runs by side and result',
    labelNames: ['source', 'result'],
    registers: [this.registry],
  });
  readonly reconInFlight = new Gauge({
    name: 'recon_in_flight',
    help: 'Items of the last sealed run that were in flight',
    registers: [this.registry],
  });
  readonly reconLastSealed = new Gauge({
    name: 'recon_last_sealed_timestamp',
    help: 'Unix time at which the last run of finance was sealed; 0: never',
    registers: [this.registry],
  });
  readonly reconOpen = new Gauge({
    name: 'recon_open',
    help: 'Exceptions by class, currency and state; only open ones are counted',
    labelNames: ['class', 'currency', 'state'],
    registers: [this.registry],
  });
  readonly reconOpenAmount = new Gauge({
    name: 'recon_open_amount_minor',
    help: 'Minor units in open exceptions',
    labelNames: ['currency'],
    registers: [this.registry],
  });
  readonly reconOldestOpenSeconds = new Gauge({
    name: 'recon_oldest_open_seconds',
    help: 'Age of the oldest open exception',
    registers: [this.registry],
  });

  readonly periodicFailures = new Counter({
    name: 'hub_periodic_failures_total',
    help: 'Periodic tasks that failed; each is tried again after its period',
    labelNames: ['task'],
    registers: [this.registry],
  });
  readonly periodicLastSuccess = new Gauge({
    name: 'hub_periodic_last_success_timestamp',
    help: 'Unix time at which a periodic task last went well in this process',
    labelNames: ['task'],
    registers: [this.registry],
  });

  constructor() {
    // Each look at the event loop wakes the process. By default they are a hundred a second, more than everything else
    // that an idle hub does; the price is that the least, mean and percentiles of the lag, which count the wait for the
    // next look, read 40 ms and not 10 where nothing lags.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 40 });
  }
}
