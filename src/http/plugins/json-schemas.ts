/** JSON Schemas by name. */
type Schemas = Readonly<Record<string, unknown>>

export const schemaRef = (name: string): string => `#/components/schemas/${name}`

/** Generators of types cannot write a type that names itself, so this one is open. */
export const JSON_VALUE = { description: 'Any JSON value' } as const

/** The schemas that a part of a description refers to, directly or through other schemas. */
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
