import { Module } from '@nestjs/common';
import { WalletModule } from '../wallet/wallet.module';
import { OperatorCallbacksController } from './operator-callbacks.controller';
import { OperatorCallbacksService } from './operator-callbacks.service';
import { OperatorCallbacksStore } from './operator-callbacks.store';

@Module({
  imports: [WalletModule],
  controllers: [OperatorCallbacksController],
  providers: [OperatorCallbacksService, OperatorCallbacksStore],
  exports: [OperatorCallbacksStore],
})
export class WebhooksModule {}
