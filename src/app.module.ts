import { type DynamicModule, Module } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import { AdminModule } from './admin/admin.module';
import { AuditModule } from './audit/audit.module';
import { type Config } from './config/config';
import { ConfigModule } from './config/config.module';
import { DatabaseModule } from './database/database.module';
import { HttpModule } from './http/http.module';
import type { Clock } from './kernel/clock';
import { ObservabilityModule } from './observability/observability.module';
import { OutboxModule } from './outbox/outbox.module';
import { PartnersModule } from './partners/partners.module';
import { ReconciliationModule } from './reconciliation/reconciliation.module';
import { SchedulingModule } from './scheduling/scheduling.module';
import { WalletModule } from './wallet/wallet.module';
import { WebhooksModule } from './webhooks/webhooks.module';

@Module({})
export class AppModule {
  /** The order of the imports is the order of the house: a folder may use only what stands above it. */
  static register(config: Config, clock?: Clock): DynamicModule {
    return {
      module: AppModule,
      imports: [
        ScheduleModule.forRoot(),
        ConfigModule.register(config, clock),
        ObservabilityModule,
        DatabaseModule,
        SchedulingModule,
        AuditModule,
        PartnersModule,
        HttpModule,
        OutboxModule,
        WalletModule,
        WebhooksModule,
        ReconciliationModule,
        AdminModule,
      ],
    };
  }
}
