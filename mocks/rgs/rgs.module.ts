import { type DynamicModule, Module } from '@nestjs/common';
import { ListFaults } from '../shared/list-faults';
import { AdminController } from './admin.controller';
import { ReceivedWebhooks } from './received-webhooks';
import { RgsFaults } from './rgs-faults';
import { RgsSettings } from './settings';
import { WebhookCalls } from './webhook-calls';
import { WebhookDesk } from './webhook-desk';
import { WebhooksController } from './webhooks.controller';

/** A remote game server that knows the hub by its contract only. */
@Module({})
export class RgsModule {
  static with(settings: RgsSettings): DynamicModule {
    return {
      module: RgsModule,
      controllers: [WebhooksController, AdminController],
      providers: [
        { provide: RgsSettings, useValue: settings },
        ReceivedWebhooks,
        WebhookCalls,
        RgsFaults,
        ListFaults,
        WebhookDesk,
      ],
    };
  }
}
