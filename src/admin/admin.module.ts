import { Module } from '@nestjs/common';
import { WalletModule } from '../wallet/wallet.module';
import { WebhooksModule } from '../webhooks/webhooks.module';
import { AdminController } from './admin.controller';
import { AdminService } from './admin.service';
import { AuditStore } from './audit.store';
import { FailedTransactionsController } from './failed-transactions.controller';
import { FailedTransactionsService } from './failed-transactions.service';

@Module({ imports: [WalletModule, WebhooksModule], controllers: [AdminController, FailedTransactionsController], providers: [AdminService, AuditStore, FailedTransactionsService] })
export class AdminModule {}
