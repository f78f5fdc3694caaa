import { Module } from '@nestjs/common';
import { WalletModule } from '../wallet/wallet.module';
import { WebhooksModule } from '../webhooks/webhooks.module';
import { AdminController } from './admin.controller';
import { AdminService } from './admin.service';
import { AuditStore } from './audit.store';

@Module({ imports: [WalletModule, WebhooksModule], controllers: [AdminController], providers: [AdminService, AuditStore] })
export class AdminModule {}
