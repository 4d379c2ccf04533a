import type * as z from 'zod'

type Check = (value: unknown) => boolean

const checks = new WeakMap<z.core.$ZodType, Check>()

/**
 * Parses like `schema.parse`, several times as fast for plain JSON that needs no change: the checks that the
 * schema describes run over the value, and the value itself is returned. Everything else goes through zod, which
 * makes the error. Objects whose names are not in the order of the schema go through zod too, because it puts them into
 * that order. Nothing is copied or frozen.
 * @throws z.ZodError as `schema.parse` does
 */
export function quickParse<T>(schema: z.ZodType<T>, value: unknown): T {
  return checkOf(schema)(value) ? (value as T) : schema.parse(value)
}

function checkOf(schema: z.core.$ZodType): Check {
  const known = checks.get(schema)
  if (known !== undefined) return known
  const made = makeCheck(schema)
  checks.set(schema, made)
  return made
}

/** For a schema that could change a value, or that is not known here: zod does the work. */
const leaveToZod: Check = () => false

/** A check that holds only for values that `schema` accepts and returns unchanged. */
function makeCheck(schema: z.core.$ZodType): Check {
  const { def } = (schema as z.core.$ZodTypes)._zod
  const refined = refinements(def.checks ?? [])
  if (refined === null) return leaveToZod
  const base = def.type === 'lazy' ? lazyCheck(schema as z.core.$ZodLazy) : baseCheck(def)
  if (refined.length === 0 || base === leaveToZod) return base
  return (value) => base(value) && refined.every((holds) => holds(value))
}

function baseCheck(def: z.core.$ZodTypes['_zod']['def']): Check {
  switch (def.type) {
    case 'string':
      return stringCheck(def)
    case 'number':
      return numberCheck(def)
    case 'boolean':
      return (value) => typeof value === 'boolean'
    case 'null':
      return (value) => value === null
    case 'literal': {
      const values = new Set<unknown>(def.values)
      return (value) => values.has(value)
    }
    case 'enum': {
      const values = new Set<unknown>(Object.values(def.entries))
      return (value) => values.has(value)
    }
    case 'nullable': {
      const inner = checkOf(def.innerType)
      return (value) => value === null || inner(value)
    }
    case 'optional':
    case 'readonly':
      return checkOf(def.innerType)
    case 'array': {
      const element = checkOf(def.element)
      return (value) => Array.isArray(value) && value.every(element)
    }
    case 'record':
      return recordCheck(def)
    case 'object':
      return objectCheck(def)
    case 'union':
      return unionCheck(def)
    default:
      return leaveToZod
  }
}

/** Resolves the schema once, when it is first needed: it may refer to itself. */
function lazyCheck(schema: z.core.$ZodLazy): Check {
  let inner: Check | null = null
  return (value) => {
    inner ??= checkOf(schema._zod.innerType)
    return inner(value)
  }
}

function stringCheck(def: z.core.$ZodStringDef): Check {
  const { format, pattern } = def as Partial<z.core.$ZodStringFormatDef>
  if (format === undefined) return (value) => typeof value === 'string'
  if (format !== 'uuid' || pattern === undefined) return leaveToZod
  // The records of a run come one after the other, and all name the run.
  let last: string | null = null
  return (value) => {
    if (typeof value !== 'string') return false
    if (value === last) return true
    if (!pattern.test(value)) return false
    last = value
    return true
  }
}

function numberCheck(def: z.core.$ZodNumberDef): Check {
  const { format } = def as Partial<z.core.$ZodNumberFormatDef>
  if (format === undefined) return Number.isFinite
  return format === 'safeint' ? Number.isSafeInteger : leaveToZod
}

function recordCheck({ keyType, valueType }: z.core.$ZodRecordDef): Check {
  const keys = (keyType as z.core.$ZodTypes)._zod.def
  if (keys.type !== 'string' || 'format' in keys || keys.checks !== undefined) return leaveToZod
  const check = checkOf(valueType)
  return (value) =>
    isPlain(value) && Object.keys(value).every((name) => name !== '__proto__' && check(value[name]))
}

function objectCheck({ shape, catchall }: z.core.$ZodObjectDef): Check {
  if ((catchall as z.core.$ZodTypes | undefined)?._zod.def.type !== 'never') return leaveToZod
  const fields = Object.entries(shape).map(([name, field]) => {
    return { name, check: checkOf(field), optional: field._zod.optin === 'optional' }
  })
  return (value) => {
    if (!isPlain(value)) return false
    const names = Object.keys(value)
    let found = 0
    for (const { name, check, optional } of fields) {
      if (names[found] === name) {
        if (!check(value[name])) return false
        found += 1
      } else if (!optional) return false
    }
    return found === names.length
  }
}

function unionCheck(def: z.core.$ZodUnionDef): Check {
  const { discriminator } = def as Partial<z.core.$ZodDiscriminatedUnionDef>
  if (discriminator === undefined) {
    return (value) => def.options.some((option) => checkOf(option)(value))
  }
  const byKind = new Map<unknown, Check>()
  for (const option of def.options) {
    for (const kind of option._zod.propValues?.[discriminator] ?? [])
      byKind.set(kind, checkOf(option))
  }
  return (value) => isPlain(value) && byKind.get(value[discriminator])?.(value) === true
}

/** What a schema asks beside its type; null if it asks something that is not known here. */
function refinements(asked: readonly z.core.$ZodCheck<never>[]): readonly Check[] | null {
  const known: Check[] = []
  for (const check of asked) {
    const holds = refinement((check as z.core.$ZodChecks | z.core.$ZodCustom)._zod.def)
    if (holds === null) return null
    known.push(holds)
  }
  return known
}

function refinement(def: (z.core.$ZodChecks | z.core.$ZodCustom)['_zod']['def']): Check | null {
  if (def.check === 'greater_than' || def.check === 'less_than') {
    const { value: bound, inclusive } = def
    if (typeof bound !== 'number') return null
    const sign = def.check === 'greater_than' ? 1 : -1
    return (value) => {
      const above = sign * (Number(value) - bound)
      return above > 0 || (inclusive && above === 0)
    }
  }
  if (def.check === 'min_length') return (value) => lengthOf(value) >= def.minimum
  if (def.check === 'max_length') return (value) => lengthOf(value) <= def.maximum
  if (def.check === 'string_format' && def.format === 'regex' && def.pattern !== undefined) {
    const { pattern } = def
    return (value) => pattern.test(String(value))
  }
  return def.check === 'custom' ? (value) => def.fn(value) === true : null
}

/** The length of a text or list; the type is checked before. */
const lengthOf = (value: unknown): number =>
  typeof value === 'string' || Array.isArray(value) ? value.length : Number.NaN

type Plain = { readonly [name: string]: unknown }

const isPlain = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
