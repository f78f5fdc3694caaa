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

type Instance = new () => object;
type Body = Readonly<Record<string, unknown>>;

const USUAL = new WeakMap<object, (body: Body) => boolean>();

/**
 * Gives a body's class a quick look that may say yes only where all of the class's decorators would. Bodies of busy routes are nearly
 * always plain ones, and for those class-validator and class-transformer cost more than the rest of the request together; whatever the
 * quick look does not know goes the long way, which alone refuses and explains.
 */
export function UsuallyLike(isUsual: (body: Body) => boolean): ClassDecorator {
  return (target) => void USUAL.set(target, isUsual);
}

/** Printable ASCII of 1 to `max` characters: what IsString, Length and IsPlainText all take. */
export function isUsualText(value: unknown, max: number): boolean {
  return typeof value === 'string' && value.length <= max && /^[\x20-\x7e]+$/.test(value);
}

class StrictValidationPipe extends ValidationPipe {
  override transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    // What our own parameter decorators give comes from us; only what the caller wrote is checked.
    if (metadata.type === 'custom') return Promise.resolve(value);
    const { metatype } = metadata;
    if (metadata.type === 'body' && metatype !== undefined && typeof value === 'object' && value !== null && USUAL.get(metatype)?.(value as Body) === true) return Promise.resolve(Object.assign(new (metatype as Instance)(), value));
    // class-validator looks names up in a plain object, so it takes "toString" for a field that it knows.
    const inherited = typeof value === 'object' && value !== null ? Object.keys(value).filter((name) => name in Object.prototype) : [];
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
