import { Module } from '@nestjs/common';
import { Settlement } from './settlement';
import { WalletController } from './wallet.controller';
import { WalletService } from './wallet.service';
import { WalletStore } from './wallet.store';

@Module({ controllers: [WalletController], providers: [WalletStore, WalletService, Settlement], exports: [WalletStore, Settlement] })
export class WalletModule {}
