import { type DynamicModule, Module } from '@nestjs/common';
import { ListFaults } from '../shared/list-faults';
import { AdminController } from './admin.controller';
import { Callbacks } from './callbacks';
import { Cashier } from './cashier';
import { HubClient } from './hub-client';
import { MovementCalls } from './movement-calls';
import { MovementDesk } from './movement-desk';
import { OperatorFaults } from './operator-faults';
import { PlayerAccounts } from './player-accounts';
import { PlayersController } from './players.controller';
import { OperatorSettings } from './settings';
import { TransactionsController } from './transactions.controller';

/** A casino's wallet that knows the hub by its contract only. */
@Module({})
export class OperatorModule {
  static with(settings: OperatorSettings): DynamicModule {
    return {
      module: OperatorModule,
      controllers: [PlayersController, TransactionsController, AdminController],
      providers: [
        { provide: OperatorSettings, useValue: settings },
        PlayerAccounts,
        OperatorFaults,
        ListFaults,
        MovementCalls,
        Cashier,
        HubClient,
        Callbacks,
        MovementDesk,
      ],
    };
  }
}
