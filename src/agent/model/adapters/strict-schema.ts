import * as z from 'zod'
import { isObject } from '../adapter.ts'

type Schema = Readonly<Record<string, unknown>>

/** What a provider can enforce. */
type Form = {
  /** Keywords that a schema may have. All others must not be in it; `description` names what they meant. */
  readonly kept: ReadonlySet<string>
  /** Every property is required, so an optional one may be null instead. */
  readonly isAllRequired: boolean
}

const KEPT = [
  ...['type', 'description', 'enum', 'const', 'items', 'anyOf', 'properties', 'required'],
  'additionalProperties',
]
const OPENAI: Form = {
  kept: new Set([...KEPT, 'minimum', 'maximum', 'minItems', 'maxItems']),
  isAllRequired: true,
}
const ANTHROPIC: Form = { kept: new Set(KEPT), isAllRequired: false }

const ObjectSchema = z.looseObject({
  type: z.literal('object'),
  properties: z.record(z.string(), z.looseObject({})).default({}),
  required: z.array(z.string()).default([]),
  additionalProperties: z.unknown().optional(),
})

/**
 * The schema of a tool in the form that OpenAI can enforce: every object is closed, and every property is required, so
 * an optional one may be null instead. Null if the schema cannot have that form.
 */
export const strictSchema = (schema: Schema): Schema | null => inForm(schema, OPENAI)

/** The same in the form that Anthropic can enforce: every object is closed, and no number or length is limited. */
export const closedSchema = (schema: Schema): Schema | null => inForm(schema, ANTHROPIC)

function inForm(schema: Schema, form: Form): Schema | null {
  const strict = strictly(schema, form)
  return strict !== null && strict.type === 'object' ? strict : null
}

function strictly(schema: Schema, form: Form): Schema | null {
  const kept = Object.fromEntries(Object.entries(schema).filter(([name]) => form.kept.has(name)))
  if (Object.keys(schema).some((name) => UNSUPPORTED.has(name))) return null
  if (schema.type === 'object') return strictObject(schema, kept, form)
  const anyOf = schema.anyOf
  if (Array.isArray(anyOf)) {
    const choices = anyOf.map((choice) => strictly(choice as Schema, form))
    return choices.includes(null) ? null : { ...kept, anyOf: choices }
  }
  if (schema.type === 'array') {
    const items = schema.items
    const strict =
      typeof items === 'object' && items !== null ? strictly(items as Schema, form) : null
    return strict === null ? null : { ...kept, items: strict }
  }
  return 'type' in schema || 'enum' in schema || 'const' in schema ? kept : null
}

/** Keywords whose meaning would be lost. */
const UNSUPPORTED = new Set([
  ...['$ref', 'oneOf', 'allOf', 'not', 'patternProperties', 'prefixItems', 'propertyNames'],
  ...['if', 'dependentRequired'],
])

function strictObject(schema: Schema, kept: Schema, form: Form): Schema | null {
  const read = ObjectSchema.safeParse(schema)
  if (!read.success) return null
  const { properties, required, additionalProperties = false } = read.data
  if (additionalProperties !== false) return null
  const names = Object.keys(properties)
  const strict: Record<string, Schema> = {}
  for (const name of names) {
    const property = strictly(properties[name] ?? {}, form)
    if (property === null) return null
    const isOptional = form.isAllRequired && !required.includes(name)
    strict[name] = isOptional ? orNull(property) : property
  }
  const all = form.isAllRequired ? names : required
  return { ...kept, properties: strict, required: all, additionalProperties: false }
}

function orNull(schema: Schema): Schema {
  const { type, enum: values } = schema
  if (typeof type === 'string' && values === undefined && type !== 'object') {
    return { ...schema, type: [type, 'null'] }
  }
  return { anyOf: [schema, { type: 'null' }] }
}

/**
 * The arguments of a call without the nulls that mean that a property is left out: the strict form asks for them, and
 * some models send them without it. A null that the schema allows stays.
 */
export function withoutNulls(
  args: Readonly<Record<string, unknown>>,
  parameters: Schema,
): Record<string, unknown> {
  const read = ObjectSchema.safeParse(parameters)
  if (!read.success) return args
  const { properties, required } = read.data
  const entries = Object.entries(args).flatMap(([name, value]): [string, unknown][] => {
    const property = properties[name] ?? {}
    if (value === null && !required.includes(name) && !allowsNull(property)) return []
    if (Array.isArray(value) && isObject(property.items)) {
      const items = property.items
      return [[name, value.map((item) => (isObject(item) ? withoutNulls(item, items) : item))]]
    }
    return [[name, isObject(value) ? withoutNulls(value, property) : value]]
  })
  return Object.fromEntries(entries)
}

const allowsNull = (schema: Schema): boolean => {
  const { type, anyOf, oneOf, enum: values } = schema
  const choices = [anyOf, oneOf].flatMap((some) => (Array.isArray(some) ? some : []))
  return (
    [type, values].flat().some((one) => one === 'null' || one === null) || choices.some(allowsNull)
  )
}

/** How many properties of a schema, and of those in it, may be left out. */
export function optionalCount(schema: unknown): number {
  if (Array.isArray(schema)) return schema.reduce((sum: number, one) => sum + optionalCount(one), 0)
  if (!isObject(schema)) return 0
  const read = schema.type === 'object' ? ObjectSchema.safeParse(schema) : undefined
  const { properties = {}, required = [] } = read?.data ?? {}
  const own = Object.keys(properties).filter((name) => !required.includes(name)).length
  return own + optionalCount([schema.items, schema.anyOf, ...Object.values(properties)].flat())
}
