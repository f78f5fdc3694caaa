import {
  Body,
  ConflictException,
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
import { exactJson, ExactObjectPipe, JsonObjectPipe } from '../shared/bodies';
import { readSince } from '../shared/call-log';
import type { ArmedFault } from '../shared/faults';
import { Fields, type JsonObject } from '../shared/fields';
import { isListFault, ListFaults } from '../shared/list-faults';
import { ReceivedWebhooks } from './received-webhooks';
import { RgsFaults } from './rgs-faults';
import { RgsSettings } from './settings';
import { WebhookCalls } from './webhook-calls';

/**
 * Control of the mock; no token. A bad request is 400 `{status: "ERROR", reason}` with all that is wrong in one text.
 */
@Controller('admin')
export class AdminController {
  constructor(
    private readonly settings: RgsSettings,
    private readonly received: ReceivedWebhooks,
    private readonly calls: WebhookCalls,
    private readonly faults: RgsFaults,
    private readonly ofList: ListFaults,
  ) {}

  /** Empties stored webhooks, log and faults; settings stay. 200 `{status: "cleared"}`. */
  @Post('clear-db')
  @HttpCode(200)
  clear(): { status: 'cleared' } {
    this.received.clear();
    this.calls.clear();
    this.faults.clear();
    this.ofList.clear();
    return { status: 'cleared' };
  }

  /**
   * 200, a bare array of the webhook calls with a number above `?since=` (default 0), in order of arrival:
   * `{n, at, playerId, refId, event, headers: {"webhook-id", …}, body, stored, repeat, fault, status}`; see
   * WebhookCall.
   */
  @Get('calls')
  async listCalls(@Query('since') since: unknown, @Res() response: Response): Promise<void> {
    await sendJsonArray(response, jsonTexts(this.calls.since(readSince(since))));
  }

  /** 200 `{calls, stored, repeats, keyConflicts, faults: {hang: 3}}`; stored is what the list holds now. */
  @Get('summary')
  summary(): object {
    return {
      calls: this.calls.size,
      ...this.received.totals(),
      faults: { ...this.faults.injected(), ...this.ofList.injected() },
    };
  }

  /** 200, the settings without the secret. */
  @Get('settings')
  showSettings(): object {
    return this.settings.shown();
  }

  /** `{latencyMs?, listForm?}` -> 200, the settings as `GET` shows them. */
  @Put('settings')
  changeSettings(@Body(JsonObjectPipe) body: JsonObject): object {
    this.settings.change(new Fields(body));
    return this.settings.shown();
  }

  /**
   * `{kind, next?, share?, seed?, playerId?, refId?, event?, …parameters of the kind}` -> 201, the fault as armed:
   * `{id, kind, params, match, remaining, share, seed, hits}`. The kinds are in rgs-faults.ts; those of the list,
   * `{kind: "list_…", next?, share?, seed?, page?: "first"|"next"|"array", …}`, in shared/list-faults.ts.
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
   * Plants a webhook: its fields as on the wire, of which `refId`, `playerId` and `event` are needed, and beside them
   * `idempotencyKey?` and `createdAt?` (ISO 8601, default: now) -> 201 `{status: "booked"}`; 409 when the key is taken.
   */
  @Post('book')
  plant(@Body(ExactObjectPipe) body: JsonObject): { status: 'booked' } {
    const {
      refId: _refId,
      playerId: _playerId,
      event: _event,
      idempotencyKey: _key,
      createdAt: _createdAt,
      ...free
    } = body;
    const fields = new Fields(body);
    const named = { playerId: fields.text('playerId'), event: fields.text('event'), refId: fields.text('refId') };
    const idempotencyKey = fields.optionalText('idempotencyKey');
    const createdAt = fields.optionalTime('createdAt') ?? Date.now();
    for (const name of Object.keys(free)) fields.anything(name);
    fields.finish();
    const webhook = { ...named, idempotencyKey, body: exactJson({ ...named, ...free }) };
    if (!this.received.plant(webhook, createdAt))
      throw new ConflictException({ status: 'ERROR', reason: 'idempotencyKey is taken' });
    return { status: 'booked' };
  }

  /** Loses the webhooks of a refId, narrowed by `?playerId=` and `?event=`. 200 `{lost: n}`; 404 when there is none. */
  @Delete('book/:refId')
  lose(@Param('refId') refId: string, @Query() query: JsonObject): { lost: number } {
    const fields = new Fields(query);
    const filter = { playerId: fields.optionalText('playerId'), event: fields.optionalText('event') };
    fields.finish();
    const lost = this.received.lose(refId, filter);
    if (lost === 0) throw new NotFoundException({ status: 'ERROR', reason: 'no such webhook' });
    return { lost };
  }
}
