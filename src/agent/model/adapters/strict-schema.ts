import * as z from 'zod'
import type { ToolSpec } from '../model.ts'

type Schema = Readonly<Record<string, unknown>>

/** Keywords that a strict schema may have. All others must not be in it; `description` names what they meant. */
const KEPT = new Set([
  ...['type', 'description', 'enum', 'const', 'items', 'anyOf', 'properties', 'required'],
  ...['additionalProperties', 'minimum', 'maximum', 'minItems', 'maxItems'],
])

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
export function strictSchema(schema: Schema): Schema | null {
  const strict = strictly(schema)
  return strict !== null && strict.type === 'object' ? strict : null
}

function strictly(schema: Schema): Schema | null {
  const kept = Object.fromEntries(Object.entries(schema).filter(([name]) => KEPT.has(name)))
  if (Object.keys(schema).some((name) => UNSUPPORTED.has(name))) return null
  if (schema.type === 'object') return strictObject(schema, kept)
  const anyOf = schema.anyOf
  if (Array.isArray(anyOf)) {
    const choices = anyOf.map((choice) => strictly(choice as Schema))
    return choices.includes(null) ? null : { ...kept, anyOf: choices }
  }
  if (schema.type === 'array') {
    const items = schema.items
    const strict = typeof items === 'object' && items !== null ? strictly(items as Schema) : null
    return strict === null ? null : { ...kept, items: strict }
  }
  return 'type' in schema || 'enum' in schema || 'const' in schema ? kept : null
}

/** Keywords whose meaning would be lost. */
const UNSUPPORTED = new Set([
  ...['$ref', 'oneOf', 'allOf', 'not', 'patternProperties', 'prefixItems', 'propertyNames'],
  ...['if', 'dependentRequired'],
])

function strictObject(schema: Schema, kept: Schema): Schema | null {
  const read = ObjectSchema.safeParse(schema)
  if (!read.success) return null
  const { properties, required, additionalProperties = false } = read.data
  if (additionalProperties !== false) return null
  const names = Object.keys(properties)
  const strict: Record<string, Schema> = {}
  for (const name of names) {
    const property = strictly(properties[name] ?? {})
    if (property === null) return null
    strict[name] = required.includes(name) ? property : orNull(property)
  }
  return { ...kept, properties: strict, required: names, additionalProperties: false }
}

function orNull(schema: Schema): Schema {
  const { type, enum: values } = schema
  if (typeof type === 'string' && values === undefined && type !== 'object') {
    return { ...schema, type: [type, 'null'] }
  }
  return { anyOf: [schema, { type: 'null' }] }
}

/** The arguments of a call without the nulls that mean, in the strict form, that a property is left out. */
export function withoutNulls(
  args: Readonly<Record<string, unknown>>,
  parameters: Schema,
): Record<string, unknown> {
  const read = ObjectSchema.safeParse(parameters)
  if (!read.success) return args
  const { properties, required } = read.data
  const entries = Object.entries(args).flatMap(([name, value]): [string, unknown][] => {
    if (value === null && !required.includes(name)) return []
    const property = properties[name] ?? {}
    if (Array.isArray(value) && isSchema(property.items)) {
      const items = property.items
      return [[name, value.map((item) => (isSchema(item) ? withoutNulls(item, items) : item))]]
    }
    return [[name, isSchema(value) ? withoutNulls(value, property) : value]]
  })
  return Object.fromEntries(entries)
}

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Whether a tool's calls may hold such nulls. */
export const isStrict = ({ parameters }: ToolSpec): boolean => strictSchema(parameters) !== null
