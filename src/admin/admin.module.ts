import { Module } from '@nestjs/common';
import { ReconciliationModule } from '../reconciliation/reconciliation.module';
import { WalletModule } from '../wallet/wallet.module';
import { WebhooksModule } from '../webhooks/webhooks.module';
import { AdminController } from './admin.controller';
import { AdminService } from './admin.service';
import { AuditCheckpoints } from '../audit/audit-checkpoints';
import { AuditStore } from '../audit/audit.store';
import { FailedTransactionsController } from './failed-transactions.controller';
import { FailedTransactionsService } from './failed-transactions.service';
import { OperatorInquiry } from './operator-inquiry';
import { ReconActionsController } from './recon-actions.controller';
import { ReconActionsService } from './recon-actions.service';

@Module({
  imports: [WalletModule, WebhooksModule, ReconciliationModule],
  controllers: [AdminController, FailedTransactionsController, ReconActionsController],
  providers: [
    AdminService,
    AuditCheckpoints,
    AuditStore,
    FailedTransactionsService,
    OperatorInquiry,
    ReconActionsService,
  ],
})
export class AdminModule {}
