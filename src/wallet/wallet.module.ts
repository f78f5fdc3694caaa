import { Module } from '@nestjs/common';
import { DeadlineWorker } from './deadline.worker';
import { RollbackService } from './rollback.service';
import { RoundsController } from './rounds.controller';
import { Settlement } from './settlement';
import { Waiters } from './waiters';
import { WalletController } from './wallet.controller';
import { WalletService } from './wallet.service';
import { WalletStore } from './wallet.store';

@Module({ controllers: [WalletController, RoundsController], providers: [WalletStore, WalletService, RollbackService, Settlement, Waiters, DeadlineWorker], exports: [WalletStore, Settlement] })
export class WalletModule {}
