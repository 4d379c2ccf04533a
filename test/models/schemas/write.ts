/** Writes the JSON Schemas of the types in request-bodies.ts: `npm run schemas`, after an update of a vendor's package. */
import { writeFile } from 'node:fs/promises'
import { createGenerator } from 'ts-json-schema-generator'
import { currentSources, SCHEMA_FILE, TYPES } from './schemas.ts'

const schemas = Object.entries(TYPES).map(([api, type]) => {
  // One program for each: types of different packages have the same names.
  const generator = createGenerator({
    path: `${import.meta.dirname}/request-bodies.ts`,
    tsconfig: 'tsconfig.json',
    type,
    skipTypeCheck: true,
    additionalProperties: false,
    jsDoc: 'none',
  })
  return [api, generator.createSchema(type)]
})
const content = { sources: await currentSources(), schemas: Object.fromEntries(schemas) }
await writeFile(SCHEMA_FILE, `${JSON.stringify(content)}\n`)
