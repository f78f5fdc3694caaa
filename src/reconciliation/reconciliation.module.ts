import { Module } from '@nestjs/common';
import { LedgerSource } from './ledger-source';
import { ReconciliationController } from './reconciliation.controller';
import { ReconciliationService } from './reconciliation.service';
import { ReconciliationStore } from './reconciliation.store';

@Module({ controllers: [ReconciliationController], providers: [ReconciliationStore, LedgerSource, ReconciliationService] })
export class ReconciliationModule {}
