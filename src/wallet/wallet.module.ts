import { Module } from '@nestjs/common';
import { DeadlineWorker } from './deadline.worker';
import { ParkedController } from './parked/parked.controller';
import { ParkedService } from './parked/parked.service';
import { RollbackService } from './rollback.service';
import { RollbackStore } from './rollback.store';
import { RoundsController } from './rounds.controller';
import { RoundsStore } from './rounds.store';
import { Settlement } from './settlement';
import { OutcomeWaiters } from './outcome-waiters';
import { WalletController } from './wallet.controller';
import { WalletService } from './wallet.service';
import { WalletStore } from './wallet.store';

@Module({
  controllers: [WalletController, RoundsController, ParkedController],
  providers: [
    WalletStore,
    RollbackStore,
    RoundsStore,
    WalletService,
    RollbackService,
    Settlement,
    OutcomeWaiters,
    DeadlineWorker,
    ParkedService,
  ],
  exports: [WalletStore, RoundsStore, Settlement],
})
export class WalletModule {}
