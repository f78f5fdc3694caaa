import { Module } from '@nestjs/common';
import { ExceptionsController } from './exceptions.controller';
import { ExceptionsService } from './exceptions.service';
import { ExceptionsStore } from './exceptions.store';
import { LedgerSource } from './ledger-source';
import { ReconciliationController } from './reconciliation.controller';
import { ReconciliationService } from './reconciliation.service';
import { ReconciliationStore } from './reconciliation.store';
import { ReportController } from './report.controller';
import { ReportService } from './report.service';
import { ReportStore } from './report.store';
import { RunsController } from './runs.controller';
import { RunsService } from './runs.service';
import { PartnerListReader } from './sources/partner-list-reader';
import { ReadLimits } from './sources/read-limits';
import { SourceReader } from './sources/source';

@Module({
  controllers: [ReconciliationController, RunsController, ReportController, ExceptionsController],
  providers: [ReconciliationStore, LedgerSource, ReconciliationService, ReportStore, ReportService, RunsService, ReadLimits, { provide: SourceReader, useClass: PartnerListReader }, ExceptionsStore, ExceptionsService],
  exports: [ExceptionsStore, ExceptionsService],
})
export class ReconciliationModule {}
