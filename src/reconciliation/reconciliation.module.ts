import { Module } from '@nestjs/common';
import { LedgerSource } from './ledger-source';
import { ReconciliationController } from './reconciliation.controller';
import { ReconciliationService } from './reconciliation.service';
import { ReconciliationStore } from './reconciliation.store';
import { PartnerListReader } from './sources/partner-list-reader';
import { ReadLimits } from './sources/read-limits';
import { SourceReader } from './sources/source';

@Module({ controllers: [ReconciliationController], providers: [ReconciliationStore, LedgerSource, ReconciliationService, ReadLimits, { provide: SourceReader, useClass: PartnerListReader }] })
export class ReconciliationModule {}
