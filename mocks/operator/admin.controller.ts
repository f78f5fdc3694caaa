import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  NotFoundException,
  Param,
  Post,
  Put,
  Query,
  Res,
} from '@nestjs/common';
import type { Response } from 'express';
import { jsonTexts, sendJsonArray } from '../shared/answers';
import { ExactObjectPipe, JsonObjectPipe } from '../shared/bodies';
import { readSince } from '../shared/call-log';
import type { ArmedFault } from '../shared/faults';
import { badRequest, Fields, type JsonObject } from '../shared/fields';
import { isListFault, ListFaults } from '../shared/list-faults';
import { toMinor } from './amounts';
import { Callbacks } from './callbacks';
import { DIRECTIONS, readMovement } from './movement';
import { MovementCalls } from './movement-calls';
import { OperatorFaults } from './operator-faults';
import { PlayerAccounts } from './player-accounts';
import { OperatorSettings } from './settings';

/**
 * Control of the mock; no token. A bad request is 400 `{status: "ERROR", reason}` with all that is wrong in one text.
 */
@Controller('admin')
export class AdminController {
  constructor(
    private readonly settings: OperatorSettings,
    private readonly accounts: PlayerAccounts,
    private readonly calls: MovementCalls,
    private readonly faults: OperatorFaults,
    private readonly ofList: ListFaults,
    private readonly callbacks: Callbacks,
  ) {}

  /** Empties books, log, faults and the callback queue; settings stay. 200 `{status: "cleared"}`. */
  @Post('clear-db')
  @HttpCode(200)
  clear(): { status: 'cleared' } {
    this.accounts.clear();
    this.calls.clear();
    this.faults.clear();
    this.ofList.clear();
    this.callbacks.clear();
    return { status: 'cleared' };
  }

  /**
   * 200, a bare array of the movement calls with a number above `?since=` (default 0), in order of arrival:
   * `{n, at, playerId, direction, reference, correlationId, idempotencyKey, applied, repeat, fault, status}`; see
   * MovementCall.
   */
  @Get('calls')
  async listCalls(@Query('since') since: unknown, @Res() response: Response): Promise<void> {
    await sendJsonArray(response, jsonTexts(this.calls.since(readSince(since))));
  }

  /**
   * 200 `{playerId, balances: {USD: "99999500"}, net: {USD: "-500"}, movements}`: digits of minor units by currency;
   * net is deposits less withdrawals. An unknown player has empty objects and no movements.
   */
  @Get('players/:id')
  player(@Param('id') playerId: string): object {
    return { playerId, ...this.accounts.describe(playerId) };
  }

  /**
   * 200 `{calls, applied, repeats, faults: {hang: 3}, callbacks: {delivered, failed, pending}}` since the start or the
   * last clear.
   */
  @Get('summary')
  summary(): object {
    return {
      ...this.calls.totals(),
      faults: { ...this.faults.injected(), ...this.ofList.injected() },
      callbacks: this.callbacks.counts(),
    };
  }

  /** 200, the settings without token and secret; startingBalanceMinor as digits. */
  @Get('settings')
  showSettings(): object {
    return this.settings.shown();
  }

  /**
   * `{hubUrl?, callbacks?, startingBalanceMinor?, latencyMs?, callbackDelayMs?, listForm?}` -> 200, the settings as
   * `GET` shows them.
   */
  @Put('settings')
  changeSettings(@Body(JsonObjectPipe) body: JsonObject): object {
    this.settings.change(new Fields(body));
    return this.settings.shown();
  }

  /**
   * `{kind, next?, share?, seed?, playerId?, reference?, direction?, …parameters of the kind}` -> 201, the fault as
   * armed: `{id, kind, params, match, remaining, share, seed, hits}`. The kinds are in operator-faults.ts; those of the
   * list, `{kind: "list_…", next?, share?, seed?, page?: "first"|"next"|"array", …}`, in shared/list-faults.ts.
   */
  @Post('faults')
  armFault(@Body(JsonObjectPipe) body: JsonObject): ArmedFault {
    return isListFault(body.kind) ? this.ofList.arm(body) : this.faults.arm(body);
  }

  /** 200, an array of the faults still armed, in the order in which they are tried. */
  @Get('faults')
  listFaults(): ArmedFault[] {
    return [...this.faults.list(), ...this.ofList.list()];
  }

  /** 200 `{disarmed: n}`. Calls that hang already go on hanging. */
  @Delete('faults')
  disarmFaults(): { disarmed: number } {
    return { disarmed: this.faults.disarm() + this.ofList.disarm() };
  }

  /**
   * Plants a booking: `{playerId, direction, amount, currency, reference, correlationId, createdAt?}` -> 201 `{status:
   * "booked"}`. No signature, no callback, no look at funds or repeats. The amount as on the wire, createdAt in ISO
   * 8601 (default: now).
   */
  @Post('book')
  plant(@Body(ExactObjectPipe) body: JsonObject): { status: 'booked' } {
    const {
      amount: _amount,
      currency: _currency,
      reference: _reference,
      correlationId: _correlationId,
      ...rest
    } = body;
    const fields = new Fields(rest);
    const playerId = fields.text('playerId');
    const direction = fields.word('direction', DIRECTIONS);
    const createdAt = fields.optionalTime('createdAt') ?? Date.now();
    fields.finish();
    const movement = readMovement(playerId, direction, body);
    if (typeof movement === 'string') throw badRequest(movement);
    const amountMinor = toMinor(movement.amount.toString(), movement.currency);
    if (amountMinor === null) throw badRequest('amount must be a decimal of zero or more, no finer than the currency');
    this.accounts.plant(movement, amountMinor, createdAt);
    return { status: 'booked' };
  }

  /**
   * Loses the bookings of a reference, narrowed by `?playerId=` and `?direction=`: off the list, the balance as if they
   * had never been, and the reference free again. 200 `{lost: n}`; 404 when there is none.
   */
  @Delete('book/:reference')
  lose(@Param('reference') reference: string, @Query() query: JsonObject): { lost: number } {
    const fields = new Fields(query);
    const filter = {
      playerId: fields.optionalText('playerId'),
      direction: fields.optionalWord('direction', DIRECTIONS),
    };
    fields.finish();
    const lost = this.accounts.lose(reference, filter);
    if (lost === 0) throw new NotFoundException({ status: 'ERROR', reason: 'no such booking' });
    return { lost };
  }
}
