import { ApiBody, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { ApiProblems, described } from '../http/openapi';
import { CallbackResponse, OperatorCallback } from './operator-callbacks.dto';

export const ApiReceiveOperatorCallback = () =>
  described(
    ApiOperation({
      summary: 'An operator reports the outcome of a movement',
      description:
        "The first definitive outcome, here or in the response to the hub's call, settles the transaction and is notified to the RGS once. Repeats are 200 without a second effect; a contradiction is 200, changes nothing and raises an incident.",
    }),
    ApiBody({ type: OperatorCallback }),
    ApiOkResponse({
      description: 'The callback is stored, and applied if it is the first definitive outcome',
      type: CallbackResponse,
    }),
    ApiProblems(
      'malformed_request',
      'unknown_reference',
      'callback_mismatch',
      'unknown_status_word',
      'payload_too_large',
      'unsupported_media_type',
      'validation_failed',
    ),
  );
