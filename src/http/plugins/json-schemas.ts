import * as z from 'zod'

/** JSON Schemas by name. */
export type Schemas = Readonly<Record<string, unknown>>

export const schemaRef = (name: string): string => `#/components/schemas/${name}`

/** Generators of types cannot write one that names itself, so this one is left open. */
export const JSON_VALUE = { description: 'Any JSON value' } as const

/** All that have a name in the contract, as the answers of this server fit them. */
export function jsonSchemas(): Schemas {
  const { schemas } = z.toJSONSchema(z.globalRegistry, {
    target: 'draft-7',
    uri: schemaRef,
    unrepresentable: 'any',
  })
  const named = Object.entries(schemas).map(([name, schema]) => {
    const { $id: _, $schema: __, ...rest } = schema
    return [name, rest] as const
  })
  return { ...Object.fromEntries(named), Json: JSON_VALUE }
}

/** Those of the schemas to which the part of a description refers, or to which these refer. */
export function usedSchemas(part: unknown, schemas: Schemas): Schemas {
  const used = new Map<string, unknown>()
  const follow = (value: unknown): void => {
    const references = JSON.stringify(value).matchAll(/"#\/components\/schemas\/([^"]+)"/g)
    for (const [, name = ''] of references) {
      if (used.has(name) || schemas[name] === undefined) continue
      used.set(name, schemas[name])
      follow(schemas[name])
    }
  }
  follow(part)
  return Object.fromEntries(used)
}
