import { isObject, type Json } from '../adapter.ts'

type Schema = { readonly [name: string]: Json }

/** The keywords that Google documents for the JSON Schema of a tool. It may answer 400 to any other. */
const KEPT: ReadonlySet<string> = new Set([
  ...['$ref', '$id', '$anchor', 'type', 'title', 'description', 'enum', 'required'],
  ...['minItems', 'maxItems', 'minimum', 'maximum'],
])
const FORMATS: ReadonlySet<unknown> = new Set(['date-time', 'date', 'time'])

/** The same schema in Google's subset of JSON Schema. What it cannot say is checked when the tool is called. */
export function geminiSchema(schema: Schema): Schema {
  return Object.fromEntries(
    Object.entries(schema).flatMap(([name, value]) => converted(name, value, schema)),
  )
}

function converted(name: string, value: Json, { type }: Schema): [string, Json][] {
  switch (name) {
    case 'properties':
    case '$defs':
      return isObject(value) ? [[name, mapped(value)]] : []
    case 'definitions':
      return isObject(value) ? [['$defs', mapped(value)]] : []
    case 'anyOf':
    case 'oneOf':
    case 'prefixItems':
      return Array.isArray(value) ? [[name === 'oneOf' ? 'anyOf' : name, value.map(inner)]] : []
    case 'items':
    case 'additionalProperties':
      return [[name, inner(value)]]
    case '$ref':
      return [[name, String(value).replace('#/definitions/', '#/$defs/')]]
    case 'const':
      return [['enum', [value]]]
    case 'exclusiveMinimum':
      return typeof value === 'number' ? [['minimum', type === 'integer' ? value + 1 : value]] : []
    case 'exclusiveMaximum':
      return typeof value === 'number' ? [['maximum', type === 'integer' ? value - 1 : value]] : []
    case 'format':
      return FORMATS.has(value) ? [[name, value]] : []
    default:
      return KEPT.has(name) ? [[name, value]] : []
  }
}

/** A schema may also be true or false. */
const inner = (value: Json): Json => (isObject(value) ? geminiSchema(value) : value)

const mapped = (schemas: Schema): Schema =>
  Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, inner(schema)]))
