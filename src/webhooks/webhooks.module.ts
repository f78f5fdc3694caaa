import { Module } from '@nestjs/common';
import { WalletModule } from '../wallet/wallet.module';
import { MeController } from './me.controller';
import { WebhooksController } from './webhooks.controller';
import { WebhooksService } from './webhooks.service';
import { WebhooksStore } from './webhooks.store';

@Module({
  imports: [WalletModule],
  controllers: [WebhooksController, MeController],
  providers: [WebhooksService, WebhooksStore],
  exports: [WebhooksStore],
})
export class WebhooksModule {}
