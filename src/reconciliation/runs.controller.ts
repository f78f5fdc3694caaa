import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { isUUID } from 'class-validator';
import { Access } from '../http/access';
import { ApiProblems } from '../http/openapi';
import { HubError } from '../kernel/errors';
import type { SignedManifest } from './manifest';
import { DiffQuery, ItemPage, ItemQuery, RUN_ID, RunBridge, RunDiff, RunPage, RunQuery, RunSummary, RunView, SignedManifestView } from './recon.dto';
import { ReportService } from './report.service';
import { RunsService } from './runs.service';

const runParam = ApiParam({ name: 'runId', format: 'uuid', description: '`id` of the run', example: RUN_ID });

@ApiTags('finance')
@Controller('v1/recon')
@Access(['finance', 'ops'])
export class RunsController {
  constructor(
    private readonly runs: RunsService,
    private readonly reports: ReportService,
  ) {}

  @Get('runs')
  @ApiOperation({ summary: 'Reconciliation runs, newest first' })
  @ApiOkResponse({ description: 'One page', type: RunPage })
  @ApiProblems('validation_failed')
  listRuns(@Query() query: RunQuery): Promise<RunPage> {
    return this.runs.list(query);
  }

  @Get('runs/:runId')
  @ApiOperation({ summary: 'One run: its state, how far it is, what it found' })
  @runParam
  @ApiOkResponse({ description: 'The run', type: RunView })
  @ApiProblems('not_found')
  getRun(@Param('runId') runId: string): Promise<RunView> {
    return this.runs.one(known(runId));
  }

  @Get('runs/:runId/items')
  @ApiOperation({ summary: 'What does not match, in the order of the report' })
  @runParam
  @ApiOkResponse({ description: 'One page', type: ItemPage })
  @ApiProblems('not_found', 'run_state_conflict', 'validation_failed')
  listItems(@Param('runId') runId: string, @Query() query: ItemQuery): Promise<ItemPage> {
    return this.runs.items(known(runId), query);
  }

  @Get('runs/:runId/summary')
  @ApiOperation({ summary: 'What each side booked, by day, currency, direction and class' })
  @runParam
  @ApiOkResponse({ description: 'The totals; no line at all means that nothing was booked', type: RunSummary })
  @ApiProblems('not_found', 'run_state_conflict')
  runSummary(@Param('runId') runId: string): Promise<RunSummary> {
    return this.runs.summary(known(runId));
  }

  @Get('runs/:runId/bridge')
  @ApiOperation({ summary: 'How one side\'s total becomes another\'s', description: 'For each day, currency and direction: the total of one side, what the items of each class add or take away, and the total of the other. Nothing is left over.' })
  @runParam
  @ApiOkResponse({ description: 'The proof, line by line', type: RunBridge })
  @ApiProblems('not_found', 'run_state_conflict')
  runBridge(@Param('runId') runId: string): Promise<RunBridge> {
    return this.runs.bridge(known(runId));
  }

  @Get('runs/:runId/manifest')
  @ApiOperation({ summary: 'What the run says of itself, signed', description: 'Holds the SHA-256 of report.csv and of the manifest before it. `npm run recon -- verify` checks both without the hub.' })
  @runParam
  @ApiOkResponse({ description: 'The manifest with its digest and signature', type: SignedManifestView })
  @ApiProblems('not_found', 'run_state_conflict')
  async runManifest(@Param('runId') runId: string): Promise<SignedManifest> {
    return (await this.reports.signed(known(runId))).manifest;
  }

  @Get('runs/:runId/diff/:otherId')
  @ApiOperation({ summary: 'What changed from this run to a later one' })
  @runParam
  @ApiParam({ name: 'otherId', format: 'uuid', description: '`id` of the later run', example: '019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a22' })
  @ApiOkResponse({ description: 'Counts of all, and one page of lines', type: RunDiff })
  @ApiProblems('not_found', 'run_state_conflict', 'validation_failed')
  diffRuns(@Param('runId') runId: string, @Param('otherId') otherId: string, @Query() query: DiffQuery): Promise<RunDiff> {
    return this.runs.diff(known(runId), known(otherId), query);
  }

  @Get('signing-key')
  @ApiOperation({ summary: 'The key that manifests are signed with', description: 'Keep it where the reports do not come from: who verifies with the key inside a manifest learns only that nothing changed by accident.' })
  @ApiOkResponse({ description: 'Ed25519, base64 of its 32 bytes', schema: { type: 'object', required: ['algorithm', 'keyId', 'publicKey'], properties: { algorithm: { type: 'string', enum: ['Ed25519'], example: 'Ed25519' }, keyId: { type: 'string', example: '3f1c9d2a7b604e55' }, publicKey: { type: 'string', example: '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=' } } } })
  signingKey(): { algorithm: 'Ed25519'; keyId: string; publicKey: string } {
    return { algorithm: 'Ed25519', keyId: this.reports.key.keyId, publicKey: this.reports.key.publicKey };
  }
}

function known(id: string): string {
  if (!isUUID(id)) throw new HubError('not_found');
  return id;
}
