import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { ApiProblems, described } from '../http/openapi';
import { OutboxRecordView } from './outbox.dto';

export const ApiListOutboxRecords = () =>
  described(
    ApiOperation({
      summary: 'Outbox records, newest first',
      description: 'The `Link` header with rel="next" leads to the next page.',
    }),
    ApiOkResponse({
      description: 'A page of records',
      type: [OutboxRecordView],
      headers: {
        Link: {
          description: 'rel="next" when there is more',
          schema: {
            type: 'string',
            example: '</webhooks/outbox?limit=100&cursor=019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a12>; rel="next"',
          },
        },
      },
    }),
    ApiProblems('validation_failed'),
  );
