import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, described } from '../http/openapi';
import { RoundView } from './rounds.dto';

export const ApiRounds = () =>
  described(
    ApiParam({ name: 'roundId', description: '`roundId` of its movements', example: 'round-77' }),
    ApiProblems('not_found'),
  );

export const ApiGetRound = () =>
  described(
    ApiOperation({ summary: 'A round with its movements, totals and state' }),
    ApiOkResponse({ description: 'The current round', type: RoundView }),
  );

export const ApiCloseRound = () =>
  described(
    ApiOperation({
      summary: 'Complete a round',
      description:
        'As `roundClosed: true` on its last movement. Later debits are refused; credits are still accepted. Closing twice changes nothing.',
    }),
    ApiOkResponse({ description: 'The round, completed', type: RoundView }),
  );
