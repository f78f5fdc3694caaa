import { type ArgumentMetadata, ValidationPipe, type ValidationError } from '@nestjs/common';
import { type ValidationOptions, registerDecorator } from 'class-validator';
import { type FieldFault, HubError } from '../kernel/errors';

/** Bodies and queries by their classes: unknown fields are refused, every fault is named with its field. */
export function validationPipe(): ValidationPipe {
  return new StrictValidationPipe({
    transform: true,
    whitelist: true,
    forbidNonWhitelisted: true,
    forbidUnknownValues: true,
    validationError: { target: false, value: false },
    exceptionFactory: (errors) => new HubError('validation_failed', { errors: errors.flatMap((error) => faultsOf(error, '')) }),
  });
}

class StrictValidationPipe extends ValidationPipe {
  override transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    // class-validator looks names up in a plain object, so it takes "toString" for a field that it knows.
    const inherited = typeof value === 'object' && value !== null && metadata.type !== 'custom' ? Object.keys(value).filter((name) => name in Object.prototype) : [];
    if (inherited.length > 0) throw new HubError('validation_failed', { errors: inherited.map((field) => ({ field, message: `property ${field} should not exist` })) });
    return super.transform(value, metadata);
  }
}

/** Text that every store and every URL can carry: no control characters, no half of a surrogate pair. */
export function IsPlainText(options?: ValidationOptions): PropertyDecorator {
  return check('isPlainText', '$property must not contain control characters or broken Unicode', (value) => isStorable(value) && !/[\u0000-\u001f\u007f]/.test(value), options);
}

/** Text for people's eyes: line feeds are fine, what the store cannot hold is not. */
export function IsStorableText(options?: ValidationOptions): PropertyDecorator {
  return check('isStorableText', '$property must not contain NUL or broken Unicode', isStorable, options);
}

/** A decorator for one property from a plain function. */
export function check(name: string, message: string, validate: (value: unknown) => boolean, options: ValidationOptions = {}): PropertyDecorator {
  return (target, property) => registerDecorator({ name, target: target.constructor, propertyName: String(property), options: { message, ...options }, validator: { validate } });
}

function isStorable(value: unknown): value is string {
  return typeof value === 'string' && value.isWellFormed() && !value.includes('\u0000');
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
