import { Module } from '@nestjs/common';
import { MatchStore } from './matching/match.store';
import { ReportDigest } from './engine/report-digest';
import { EngineLimits, RunEngine } from './engine/run-engine';
import { RunStore } from './run/run.store';
import { RunWorker } from './engine/run.worker';
import { RunRequests } from './engine/run-requests';
import { SealStore } from './matching/seal.store';
import { StageStore } from './matching/stage.store';
import { ReportDigestByKind } from './legacy/report-digest-by-kind';
import { LegacyFile } from './legacy/legacy-file';
import { LegacyFileStore } from './legacy/legacy-file.store';
import { ExceptionsController } from './exceptions/exceptions.controller';
import { ExceptionsService } from './exceptions/exceptions.service';
import { ExceptionsStore } from './exceptions/exceptions.store';
import { ExceptionMetrics } from './exceptions/exception-metrics';
import { ReportSigning } from './reports/report-signing';
import { ReconciliationController } from './legacy/reconciliation.controller';
import { ReconciliationService } from './legacy/reconciliation.service';
import { ReportController } from './runs/report.controller';
import { ReportService } from './reports/report.service';
import { ReportStore } from './reports/report.store';
import { RunStarts } from './runs/run-starts';
import { RunsController } from './runs/runs.controller';
import { RunsService } from './runs/runs.service';
import { ScheduleStore } from './schedules/schedule.store';
import { SchedulesController } from './schedules/schedules.controller';
import { SchedulesService } from './schedules/schedules.service';
import { PartnerListReader } from './sources/partner-list-reader';
import { ReadLimits } from './sources/read-limits';
import { SourceReader } from './sources/source';

@Module({
  controllers: [ReconciliationController, RunsController, ReportController, ExceptionsController, SchedulesController],
  providers: [
    ReadLimits,
    EngineLimits,
    { provide: SourceReader, useClass: PartnerListReader },
    RunStore,
    StageStore,
    MatchStore,
    SealStore,
    RunEngine,
    RunWorker,
    RunRequests,
    LegacyFileStore,
    LegacyFile,
    { provide: ReportDigest, useClass: ReportDigestByKind },
    ReconciliationService,
    ReportStore,
    ReportService,
    RunsService,
    RunStarts,
    ExceptionsStore,
    ExceptionsService,
    ScheduleStore,
    SchedulesService,
    ReportSigning,
    ExceptionMetrics,
  ],
  exports: [ExceptionsStore, ExceptionsService, ReportStore],
})
export class ReconciliationModule {}
