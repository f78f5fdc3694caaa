import { Global, Module } from '@nestjs/common';
import { LostLeases } from './lost-leases';
import { MeController } from './me.controller';
import { Outbox } from './outbox';
import { OutboxController } from './outbox.controller';
import { OutboxMaintenance } from './outbox-maintenance';
import { OutboxRecordsStore } from './outbox-records.store';
import { OutboxStore } from './outbox.store';
import { OutboxWorker } from './outbox.worker';
import { Sender } from './sender';
import { ResultCommitter } from './result-committer';
import { WakeUps } from './wake-ups';

@Global()
@Module({
  controllers: [OutboxController, MeController],
  providers: [
    OutboxStore,
    OutboxRecordsStore,
    WakeUps,
    Outbox,
    Sender,
    ResultCommitter,
    LostLeases,
    OutboxWorker,
    OutboxMaintenance,
  ],
  exports: [Outbox],
})
export class OutboxModule {}
