import { Global, Module } from '@nestjs/common';
import { Outbox } from './outbox';
import { OutboxDuties } from './outbox-duties';
import { OutboxStore } from './outbox.store';
import { OutboxWorker } from './outbox.worker';
import { Sender } from './sender';
import { Settler } from './settler';
import { WakeUps } from './wake-ups';

@Global()
@Module({ providers: [OutboxStore, WakeUps, Outbox, Sender, Settler, OutboxWorker, OutboxDuties], exports: [Outbox] })
export class OutboxModule {}
