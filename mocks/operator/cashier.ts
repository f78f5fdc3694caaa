import { Injectable } from '@nestjs/common';
import { LosslessNumber } from 'lossless-json';
import { type Answer, errorAnswer, jsonAnswer } from '../shared/answers';
import { exactJson } from '../shared/bodies';
import { toMajor, toMinor } from './amounts';
import type { Callback } from './callbacks';
import type { Movement } from './movement';
import { PlayerAccounts } from './player-accounts';
import { OperatorSettings } from './settings';

/** What the wallet says to a movement. */
export interface Decision {
  answer: Answer;
  /** The callback to send later; null after an ERROR, which is about the request and not about the money. */
  callback: Callback | null;
  /** Whether the money moved now, had moved before, or did not move. */
  effect: 'applied' | 'repeat' | 'none';
}

/** Decides on movements as a faultless wallet does. */
@Injectable()
export class Cashier {
  constructor(
    private readonly settings: OperatorSettings,
    private readonly accounts: PlayerAccounts,
  ) {}

  /** Books the movement if it may be booked, and says what to answer. */
  decide(movement: Movement): Decision {
    const { playerId, direction, currency } = movement;
    if (!this.settings.supportedCurrencies.includes(currency))
      return refusedRequest(422, { reason: 'unsupported currency' });
    const amountMinor = toMinor(movement.amount.toString(), currency);
    if (amountMinor === null)
      return refusedRequest(400, { reason: 'amount must be a decimal of zero or more, no finer than the currency' });
    if (amountMinor === 0n && direction === 'withdraw')
      return refusedRequest(400, { reason: 'amount of a withdrawal must be above zero' });
    if (playerId.endsWith('_bad')) return this.refuse(movement, 'player_blocked');

    const { kind, balanceMinor } = this.accounts.book(movement, amountMinor);
    switch (kind) {
      case 'applied':
        return { ...this.accepted(movement, balanceMinor), effect: 'applied' };
      case 'repeat':
        return { ...this.accepted(movement, balanceMinor), effect: 'repeat' };
      case 'insufficient_funds':
        return this.refuse(movement, kind);
      case 'reference_reused':
        return refusedRequest(422, { code: kind });
    }
  }

  /** A refusal for business reasons; nothing is booked. */
  refuse(movement: Movement, reason: string): Decision {
    const { playerId, currency, correlationId } = movement;
    const balance = majorNumber(this.accounts.balanceMinor(playerId, currency), currency);
    const answer = jsonAnswer(200, exactJson({ status: 'REJECTED', reason, correlationId, balance }));
    return { answer, callback: callbackOf(movement, 'REJECTED'), effect: 'none' };
  }

  private accepted(movement: Movement, balanceMinor: bigint): Omit<Decision, 'effect'> {
    const { currency, correlationId } = movement;
    const answer = jsonAnswer(
      200,
      exactJson({ status: 'OK', correlationId, balance: majorNumber(balanceMinor, currency) }),
    );
    return { answer, callback: callbackOf(movement, 'OK') };
  }
}

function refusedRequest(status: number, fields: { reason?: string; code?: string }): Decision {
  return { answer: errorAnswer(status, fields), callback: null, effect: 'none' };
}

function callbackOf(movement: Movement, status: 'OK' | 'REJECTED'): Callback {
  const { playerId, amount, currency, direction, reference, correlationId } = movement;
  return { playerId, amount, currency, status, event: direction, refId: reference, correlationId };
}

/** A JSON number with all decimals of the currency, e.g. 5.00: a float would lose the zeros, and more beyond 2^53. */
function majorNumber(minor: bigint, currency: string): LosslessNumber {
  return new LosslessNumber(toMajor(minor, currency));
}
