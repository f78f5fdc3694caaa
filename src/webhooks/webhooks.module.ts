import { Module } from '@nestjs/common';
import { WalletModule } from '../wallet/wallet.module';
import { MeController } from '../outbox/me.controller';
import { WebhooksController } from './operator-callbacks.controller';
import { WebhooksService } from './operator-callbacks.service';
import { WebhooksStore } from './operator-callbacks.store';

@Module({
  imports: [WalletModule],
  controllers: [WebhooksController, MeController],
  providers: [WebhooksService, WebhooksStore],
  exports: [WebhooksStore],
})
export class WebhooksModule {}
