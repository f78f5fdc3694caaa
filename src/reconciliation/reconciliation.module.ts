import { Module } from '@nestjs/common';
import { MatchStore } from './engine/match.store';
import { ReportDigest } from './engine/report-digest';
import { EngineLimits, RunEngine } from './engine/run-engine';
import { RunStore } from './engine/run.store';
import { RunWorker } from './engine/run.worker';
import { ReconRuns } from './engine/runs.service';
import { SealStore } from './engine/seal.store';
import { StageStore } from './engine/stage.store';
import { KindDigest } from './kind-digest';
import { LegacyFile } from './legacy-file';
import { LegacyFileStore } from './legacy-file.store';
import { ExceptionsController } from './exceptions.controller';
import { ExceptionsService } from './exceptions.service';
import { ExceptionsStore } from './exceptions.store';
import { ReconDuties } from './recon-duties';
import { ReconciliationController } from './reconciliation.controller';
import { ReconciliationService } from './reconciliation.service';
import { ReportController } from './report.controller';
import { ReportService } from './report.service';
import { ReportStore } from './report.store';
import { RunStarts } from './run-starts';
import { RunsController } from './runs.controller';
import { RunsService } from './runs.service';
import { ScheduleStore } from './schedule.store';
import { SchedulesController } from './schedules.controller';
import { SchedulesService } from './schedules.service';
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
    ReconRuns,
    LegacyFileStore,
    LegacyFile,
    { provide: ReportDigest, useClass: KindDigest },
    ReconciliationService,
    ReportStore,
    ReportService,
    RunsService,
    RunStarts,
    ExceptionsStore,
    ExceptionsService,
    ScheduleStore,
    SchedulesService,
    ReconDuties,
  ],
  exports: [ExceptionsStore, ExceptionsService, ReportStore],
})
export class ReconciliationModule {}
