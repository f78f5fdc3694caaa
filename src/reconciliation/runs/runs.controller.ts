import { Body, Controller, Get, Headers, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiBody,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
  ApiTags,
} from '@nestjs/swagger';
import { isUUID } from 'class-validator';
import type { Response } from 'express';
import { Access } from '../../http/access';
import { Actor } from '../../http/caller';
import { checkedIdempotencyKey } from '../../http/idempotency-key';
import { TakesJson } from '../../http/json-body.guard';
import { ApiProblems } from '../../http/openapi';
import { HubError } from '../../kernel/errors';
import {
  DiffQuery,
  ItemPage,
  ItemQuery,
  RUN_ID,
  RunBridge,
  RunDiff,
  RunPage,
  RunQuery,
  RunSummary,
  RunView,
} from './recon.dto';
import { ReportService } from '../reports/report.service';
import { RunStarts } from './run-starts';
import { RunsService } from './runs.service';
import { SigningKeyView, StartRunRequest } from './start-run.dto';

const LOCATION = {
  Location: { description: 'The run', schema: { type: 'string' as const, example: `/v1/recon/runs/${RUN_ID}` } },
};
const RUN_EXAMPLES = {
  day: {
    summary: 'A business day of Malta that starts at six',
    value: { businessDate: '2026-11-22', zone: 'Europe/Malta', cutoff: '06:00' },
  },
  window: {
    summary: 'An arbitrary window',
    value: { from: '2026-11-22T05:00:00Z', to: '2026-11-22T17:00:00Z', graceSeconds: 0, dryRun: true },
  },
};
const runParam = ApiParam({ name: 'runId', format: 'uuid', description: '`id` of the run', example: RUN_ID });

@ApiTags('finance')
@Controller('v1/recon')
@Access(['finance', 'ops'])
export class RunsController {
  constructor(
    private readonly runs: RunsService,
    private readonly starts: RunStarts,
    private readonly reports: ReportService,
  ) {}

  @Post('runs')
  @HttpCode(202)
  @TakesJson()
  @ApiOperation({
    summary: 'Start a run',
    description:
      'Of a business day, of a window, or of all time. A running run with the same parameters is joined. A list that cannot be read to its end fails the run; it never produces a shorter report.',
  })
  @ApiHeader({
    name: 'Idempotency-Key',
    required: false,
    description: 'A repeat with the same key gets the same run',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
    example: 'b1f7c1de-8f0e-4d3c-9b61-1c8f5f8d0a11',
  })
  @ApiBody({ type: StartRunRequest, examples: RUN_EXAMPLES })
  @ApiAcceptedResponse({
    description: 'The run has started; Location shows its progress',
    type: RunView,
    headers: {
      ...LOCATION,
      'Idempotent-Replayed': {
        description: '`true` when an earlier request with the same key started it',
        schema: { type: 'string', enum: ['true'] },
      },
    },
  })
  @ApiProblems(
    'malformed_request',
    'idempotency_key_reused',
    'payload_too_large',
    'unsupported_media_type',
    'validation_failed',
    'upstream_failed',
  )
  async startRun(
    @Actor() actor: string,
    @Body() request: StartRunRequest,
    @Headers('idempotency-key') key: string | undefined,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RunView> {
    const { runId, replayed } = await this.starts.start(actor, request, checkedIdempotencyKey(key));
    if (replayed) response.setHeader('Idempotent-Replayed', 'true');
    return this.accepted(runId, response);
  }

  @Post('runs/:runId/cancel')
  @HttpCode(200)
  @ApiOperation({ summary: 'Cancel a run' })
  @runParam
  @ApiOkResponse({ description: 'The cancelled run', type: RunView })
  @ApiProblems('not_found', 'run_state_conflict')
  async cancelRun(@Actor() actor: string, @Param('runId') runId: string): Promise<RunView> {
    await this.starts.cancel(actor, known(runId));
    return this.runs.one(runId);
  }

  @Post('runs/:runId/retry')
  @HttpCode(202)
  @ApiOperation({
    summary: 'Retry a run that failed or was cancelled',
    description: 'A new run with the same parameters, as of now.',
  })
  @runParam
  @ApiAcceptedResponse({ description: 'The new run', type: RunView, headers: LOCATION })
  @ApiProblems('not_found', 'run_state_conflict', 'upstream_failed')
  async retryRun(
    @Actor() actor: string,
    @Param('runId') runId: string,
    @Res({ passthrough: true }) response: Response,
  ): Promise<RunView> {
    const retried = await this.starts.retry(actor, known(runId));
    return this.accepted(retried.runId, response);
  }

  @Get('runs')
  @ApiOperation({ summary: 'Reconciliation runs, newest first' })
  @ApiOkResponse({ description: 'A page of the list', type: RunPage })
  @ApiProblems('validation_failed')
  listRuns(@Query() query: RunQuery): Promise<RunPage> {
    return this.runs.list(query);
  }

  @Get('runs/:runId')
  @ApiOperation({ summary: 'One run: state, progress and results' })
  @runParam
  @ApiOkResponse({ description: 'The run', type: RunView })
  @ApiProblems('not_found')
  getRun(@Param('runId') runId: string): Promise<RunView> {
    return this.runs.one(known(runId));
  }

  @Get('runs/:runId/items')
  @ApiOperation({ summary: 'Discrepancies, in the order of the report' })
  @runParam
  @ApiOkResponse({ description: 'A page of the list', type: ItemPage })
  @ApiProblems('not_found', 'run_state_conflict', 'validation_failed')
  listRunItems(@Param('runId') runId: string, @Query() query: ItemQuery): Promise<ItemPage> {
    return this.runs.items(known(runId), query);
  }

  @Get('runs/:runId/summary')
  @ApiOperation({ summary: 'What each side booked, by day, currency, direction and class' })
  @runParam
  @ApiOkResponse({ description: 'The totals; without any line nothing was booked', type: RunSummary })
  @ApiProblems('not_found', 'run_state_conflict')
  getRunSummary(@Param('runId') runId: string): Promise<RunSummary> {
    return this.runs.summary(known(runId));
  }

  @Get('runs/:runId/bridge')
  @ApiOperation({
    summary: "How one side's total becomes another's",
    description:
      'For each day, currency and direction: the total of one side, the difference that the items of each class make, and the total of the other. Nothing remains unexplained.',
  })
  @runParam
  @ApiOkResponse({ description: 'The proof, line by line', type: RunBridge })
  @ApiProblems('not_found', 'run_state_conflict')
  getRunBridge(@Param('runId') runId: string): Promise<RunBridge> {
    return this.runs.bridge(known(runId));
  }

  @Get('runs/:runId/diff/:otherId')
  @ApiOperation({ summary: 'What changed from this run to a later one' })
  @runParam
  @ApiParam({
    name: 'otherId',
    format: 'uuid',
    description: '`id` of the later run',
    example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a22',
  })
  @ApiOkResponse({ description: 'Counts of all, and a page of lines', type: RunDiff })
  @ApiProblems('not_found', 'run_state_conflict', 'validation_failed')
  diffRuns(
    @Param('runId') runId: string,
    @Param('otherId') otherId: string,
    @Query() query: DiffQuery,
  ): Promise<RunDiff> {
    return this.runs.diff(known(runId), known(otherId), query);
  }

  @Get('signing-key')
  @ApiOperation({
    summary: 'The public key of the manifests',
    description: 'Keep it separate from the reports: the key inside a manifest detects only accidental changes.',
  })
  @ApiOkResponse({ description: 'The public signing key', type: SigningKeyView })
  getSigningKey(): SigningKeyView {
    return { algorithm: 'Ed25519', keyId: this.reports.key.keyId, publicKey: this.reports.key.publicKey };
  }

  private accepted(runId: string, response: Response): Promise<RunView> {
    response.setHeader('Location', `/v1/recon/runs/${runId}`);
    return this.runs.one(runId);
  }
}

function known(id: string): string {
  if (!isUUID(id)) throw new HubError('not_found');
  return id;
}
