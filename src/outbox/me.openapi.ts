import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { described } from '../http/openapi';
import { RgsStanding } from './outbox.dto';

export const ApiGetStanding = () =>
  described(
    ApiOperation({
      summary: 'Whether your webhook is called, and how many webhooks wait',
      description:
        "An endpoint that responded 410 is paused: nothing is sent to it until the hub's ops resume it, and webhooks wait in order. Movements are still accepted.",
    }),
    ApiOkResponse({ description: 'The current state', type: RgsStanding }),
  );
