import { type ArgumentMetadata, type PipeTransform } from '@nestjs/common';
import { defaultMetadataStorage } from 'class-transformer/cjs/storage';
import {
  type ValidationError,
  type ValidationOptions,
  getMetadataStorage,
  registerDecorator,
  validate,
} from 'class-validator';
import { type FieldViolation, HubError } from '../kernel/errors';
import { VIOLATIONS_SHOWN_MAX, FIELDS_MAX, TEXT_LENGTH_MAX } from './input-limits';

type Instance = new () => object;
type Body = Readonly<Record<string, unknown>>;

const FAST_PATHS = new WeakMap<object, (body: Body) => boolean>();

/**
 * Gives a body's class a quick look that may say yes only where all of the class's decorators would. Bodies of busy
 * routes are nearly always plain ones, and for those class-validator and class-transformer cost more than the rest of
 * the request together; whatever the quick look does not know goes the long way, which alone refuses and explains.
 */
export function FastPath(isPlain: (body: Body) => boolean): ClassDecorator {
  return (target) => void FAST_PATHS.set(target, isPlain);
}

/** Printable ASCII of 1 to `max` characters: what IsString, Length and IsPlainText all take. */
export function isPlainText(value: unknown, max: number): boolean {
  return typeof value === 'string' && value.length <= max && /^[\x20-\x7e]+$/.test(value);
}

/** Text that every store and every URL can carry: no control characters, no half of a surrogate pair. */
export function IsPlainText(options?: ValidationOptions): PropertyDecorator {
  return check(
    'isPlainText',
    '$property must not contain control characters or broken Unicode',
    (value) => isStorable(value) && !/[\u0000-\u001f\u007f]/.test(value),
    options,
  );
}

/** Text for people's eyes: line feeds are fine, what the store cannot hold is not. */
export function IsStorableText(options?: ValidationOptions): PropertyDecorator {
  return check('isStorableText', '$property must not contain NUL or broken Unicode', isStorable, options);
}

/** A decorator for one property from a plain function. */
export function check(
  name: string,
  message: string,
  validate: (value: unknown) => boolean,
  options: ValidationOptions = {},
): PropertyDecorator {
  return (target, property) =>
    registerDecorator({
      name,
      target: target.constructor,
      propertyName: String(property),
      options: { message, ...options },
      validator: { validate },
    });
}

function isStorable(value: unknown): value is string {
  return typeof value === 'string' && value.isWellFormed() && !value.includes('\u0000');
}

/** What a class says of one of its fields. */
interface FieldRules {
  readonly optional: boolean;
  /** Class of the object that stands here, for @ValidateNested. */
  readonly nested: Instance | undefined;
  /** For @Type(() => Number): queries are text. */
  readonly number: boolean;
  readonly whole: boolean;
  /** A list, or an object that one validator of ours looks into. */
  readonly takesList: boolean;
  readonly takesObject: boolean;
}

const RULES = new Map<Instance, ReadonlyMap<string, FieldRules>>();

function rulesOf(metatype: Instance): ReadonlyMap<string, FieldRules> {
  const known = RULES.get(metatype);
  if (known !== undefined) return known;
  const names = new Map<string, Set<string>>();
  for (const { propertyName, type, name } of getMetadataStorage().getTargetValidationMetadatas(
    metatype,
    '',
    false,
    false,
  )) {
    const validators = names.get(propertyName) ?? new Set();
    names.set(propertyName, validators.add(name ?? type));
  }
  const rules = new Map(
    [...names].map(([field, validators]): [string, FieldRules] => {
      const type: unknown = defaultMetadataStorage.findTypeMetadata(metatype, field)?.typeFunction();
      const optional = validators.has('isOptional');
      const nested = validators.has('nestedValidation') ? (type as Instance) : undefined;
      return [
        field,
        {
          optional,
          nested,
          number: type === Number,
          whole: validators.has('isInt'),
          takesList: validators.has('isArray'),
          takesObject: validators.has('isMeta'),
        },
      ];
    }),
  );
  RULES.set(metatype, rules);
  return rules;
}

/** Lists longer than this are wrong in every class, so the rest need not be looked at. */
const ELEMENTS_LOOKED_AT_MAX = 1_000;
const PLAIN_TYPES: ReadonlySet<unknown> = new Set([String, Boolean, Number, Array, Object]);

/**
 * Bodies and queries by their classes: unknown fields are refused, every fault is named with its field, once. Nothing
 * is walked that no class asks for: Nest's own pipe copies all of a stranger's objects before it refuses them, and
 * names each of his thousand fields.
 */
export class StrictValidationPipe implements PipeTransform {
  async transform(value: unknown, { type, metatype }: ArgumentMetadata): Promise<unknown> {
    // What our own parameter decorators give comes from us; only what the caller wrote is checked.
    if (type === 'custom') return value;
    // No id has characters that no store can hold. The empty one names nothing either, and every route knows how to say
    // so.
    if (type === 'param' && typeof value === 'string') return isStorable(value) ? value : '';
    if (metatype === undefined || PLAIN_TYPES.has(metatype) || typeof value !== 'object' || value === null)
      return value;
    if (type === 'body' && FAST_PATHS.get(metatype)?.(value as Body) === true)
      return Object.assign(new (metatype as Instance)(), value);
    const violations: FieldViolation[] = [];
    const instance = shaped(metatype as Instance, value as Body, '', violations);
    const errors = await validate(instance, {
      forbidUnknownValues: true,
      validationError: { target: false, value: false },
    });
    const named = new Set(violations.map(({ field }) => field));
    for (const violation of errors.flatMap((error) => violationsOf(error, '')))
      if (!named.has(violation.field)) violations.push(violation);
    if (violations.length > 0) throw new HubError('validation_failed', { errors: reported(violations) });
    return instance;
  }
}

/**
 * The fields that the class has, in an instance of it; what it does not have, and text that nothing can store, becomes
 * a fault.
 */
function shaped(metatype: Instance, value: Body, parent: string, violations: FieldViolation[]): object {
  const rules = rulesOf(metatype);
  const instance = new metatype() as Record<string, unknown>;
  const names = Object.keys(value);
  if (names.length > FIELDS_MAX)
    throw new HubError('validation_failed', {
      errors: [{ field: parent === '' ? 'body' : parent, message: `must not have more than ${FIELDS_MAX} fields` }],
    });
  for (const name of names) {
    const field = printable(parent === '' ? name : `${parent}.${name}`);
    // A Map, and not a look into an object: there "toString" would be a field that every class has.
    const rule = rules.get(name);
    const given = value[name];
    if (rule === undefined) violations.push({ field, message: `property ${field} should not exist` });
    // "An optional field may be null" means: as if it were not there, with its default.
    else if (given !== null || !rule.optional) {
      const kept = keptValue(rule, given, field, violations);
      // So the parser marks what no double holds.
      if (rule.whole && !rule.number && Number.isNaN(kept))
        violations.push({ field, message: `${field} must be a whole number of at most ${Number.MAX_SAFE_INTEGER}` });
      else if (typeof kept === 'string' && !isStorable(kept))
        violations.push({ field, message: `${field} must not contain NUL or broken Unicode` });
      else if (typeof kept === 'string' && kept.length > TEXT_LENGTH_MAX)
        violations.push({ field, message: `${field} must be shorter than or equal to ${TEXT_LENGTH_MAX} characters` });
      instance[name] = kept;
    }
  }
  return instance;
}

/** Objects and lists where the class has none are emptied: they stay wrong, and are not walked. */
function keptValue(rule: FieldRules, given: unknown, field: string, violations: FieldViolation[]): unknown {
  if (rule.number) return Number(given);
  if (typeof given !== 'object' || given === null || rule.takesObject) return given;
  if (Array.isArray(given))
    return rule.takesList
      ? given.slice(0, ELEMENTS_LOOKED_AT_MAX).map((element: unknown) => (typeof element === 'object' ? null : element))
      : rule.nested === undefined
        ? []
        : false;
  return rule.nested === undefined ? {} : shaped(rule.nested, given as Body, field, violations);
}

/** The fault that explains the others comes first: for a text in place of a number, "too large" would be noise. */
const TYPES: ReadonlySet<string> = new Set([
  'isString',
  'isInt',
  'isBoolean',
  'isArray',
  'isIn',
  'isMeta',
  'isDecimal',
  'isUuid',
  'isIso8601',
  'unknownValue',
  'nestedValidation',
]);

function violationsOf(error: ValidationError, parent: string): FieldViolation[] {
  const field = printable(parent === '' ? error.property : `${parent}.${error.property}`);
  const constraints = Object.entries(error.constraints ?? {});
  // class-validator lists them from the last decorator to the first.
  const first = constraints.find(([name]) => TYPES.has(name)) ?? constraints.at(-1);
  return [
    ...(first === undefined ? [] : [{ field, message: printable(first[1], MESSAGE_LENGTH_MAX) }]),
    ...(error.children ?? []).flatMap((child) => violationsOf(child, field)),
  ];
}

/** One fault a field, and no more of them than a person reads. */
function reported(violations: readonly FieldViolation[]): FieldViolation[] {
  if (violations.length <= VIOLATIONS_SHOWN_MAX) return [...violations];
  const rest = violations.length - VIOLATIONS_SHOWN_MAX + 1;
  return [...violations.slice(0, VIOLATIONS_SHOWN_MAX - 1), { field: '…', message: `${rest} more fields are wrong` }];
}

const FIELD_LENGTH_MAX = 64;
const MESSAGE_LENGTH_MAX = 160;

/** Names come from the caller and go back to it and into logs: short, and without control characters. */
function printable(text: string, lengthMax = FIELD_LENGTH_MAX): string {
  const clean = text
    .slice(0, lengthMax + 1)
    .replace(/[\u0000-\u001f\u007f]/g, '?')
    .toWellFormed();
  return clean.length > lengthMax ? `${clean.slice(0, lengthMax).toWellFormed()}…` : clean;
}
