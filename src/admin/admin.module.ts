import { Module } from '@nestjs/common';
import { AuditHeadsSource } from '../audit/audit-chain';
import { AuditCheckpoints } from '../audit/audit-checkpoints';
import { ReconciliationModule } from '../reconciliation/reconciliation.module';
import { ReportStore } from '../reconciliation/reports/report.store';
import { WalletModule } from '../wallet/wallet.module';
import { WebhooksModule } from '../webhooks/webhooks.module';
import { AdminController } from './admin.controller';
import { AdminService } from './admin.service';
import { OperatorInquiry } from './operator-inquiry';
import { ReconActionsController } from './recon-actions.controller';
import { ReconActionsService } from './recon-actions.service';

@Module({
  imports: [WalletModule, WebhooksModule, ReconciliationModule],
  controllers: [AdminController, ReconActionsController],
  providers: [
    AdminService,
    AuditCheckpoints,
    { provide: AuditHeadsSource, useExisting: ReportStore },
    OperatorInquiry,
    ReconActionsService,
  ],
})
export class AdminModule {}
