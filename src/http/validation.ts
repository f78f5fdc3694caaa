import { ValidationPipe, type ValidationError } from '@nestjs/common';
import { type FieldFault, HubError } from '../kernel/errors';

/** Bodies and queries by their classes: unknown fields are refused, every fault is named with its field. */
export function validationPipe(): ValidationPipe {
  return new ValidationPipe({
    transform: true,
    whitelist: true,
    forbidNonWhitelisted: true,
    forbidUnknownValues: true,
    validationError: { target: false, value: false },
    exceptionFactory: (errors) => new HubError('validation_failed', { errors: errors.flatMap((error) => faultsOf(error, '')) }),
  });
}

function faultsOf(error: ValidationError, parent: string): FieldFault[] {
  const field = printable(parent === '' ? error.property : `${parent}.${error.property}`);
  const own = Object.values(error.constraints ?? {}).map((message) => ({ field, message: printable(message) }));
  return [...own, ...(error.children ?? []).flatMap((child) => faultsOf(child, field))];
}

/** Names come from the caller and go back to it and into logs: short, and without control characters. */
function printable(text: string): string {
  const clean = text.replace(/[\u0000-\u001f\u007f]/g, '?');
  return clean.length > 160 ? `${clean.slice(0, 160)}…` : clean;
}
