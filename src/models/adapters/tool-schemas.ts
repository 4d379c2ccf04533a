import { wordSet } from '../../lib/text.ts'
import { isObject, type Json } from '../adapter.ts'
import type { ToolSpec } from '../model.ts'

/** The JSON Schema of the arguments of a tool, without its dialect, which not every endpoint accepts. */
export function schemaOf({ parameters }: Pick<ToolSpec, 'parameters'>) {
  const { $schema: _, ...schema } = parameters
  return schema
}

/** A tool as chat completions and Ollama describe it. */
export const functionTool = ({ name, description, ...tool }: ToolSpec) => ({
  type: 'function' as const,
  function: { name, description, parameters: schemaOf(tool) },
})

type JsonSchema = { readonly [name: string]: Json }

/** The keywords that Google documents for the JSON Schema of a tool. It may answer 400 to any other. */
const GOOGLE = wordSet(`
  $ref $id $anchor $defs type title description enum required properties additionalProperties
  items prefixItems anyOf minItems maxItems minimum maximum
`)

/** The same schema in Google's subset of JSON Schema. What it cannot say is checked when the tool is called. */
export function geminiSchema(schema: JsonSchema): JsonSchema {
  const { const: only, oneOf, definitions, $ref, ...rest } = schema
  const said = {
    ...rest,
    ...(only === undefined ? {} : { enum: [only] }),
    ...(oneOf === undefined ? {} : { anyOf: oneOf }),
    ...(definitions === undefined ? {} : { $defs: definitions }),
    ...($ref === undefined ? {} : { $ref: String($ref).replace('#/definitions/', '#/$defs/') }),
  }
  const kept = Object.entries(said).filter(([name]) => GOOGLE.has(name))
  return Object.fromEntries(
    kept.map(([name, value]) => {
      const isNamed = (name === 'properties' || name === '$defs') && isObject(value)
      return [name, isNamed ? mapped(value) : inner(value)]
    }),
  )
}

const mapped = (schemas: JsonSchema): JsonSchema =>
  Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, inner(schema)]))

const inner = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(inner)
  return isObject(value) ? geminiSchema(value) : value
}
