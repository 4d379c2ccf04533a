import fp from 'fastify-plugin'
import { Refusal } from '../problems/problem.ts'
import { InvalidInput } from './validation.ts'

/** No body of this API needs more than three. */
const MAX_DEPTH = 64

/**
 * Takes bodies that are declared as JSON and no others: a browser does not send those to another origin without
 * asking first. An empty body counts as left out.
 */
export const acceptJsonOnly = fp(
  async (app) => {
    const parseJson = app.getDefaultJsonParser('error', 'error')
    app.removeAllContentTypeParsers()
    app.addContentTypeParser<string>(
      'application/json',
      { parseAs: 'string' },
      (request, body, done) => {
        if (body === '') return done(null, undefined)
        void parseJson(request, body, (error, parsed) => {
          if (error) return done(error)
          try {
            done(null, sound(parsed, '', 0))
          } catch (refused) {
            done(refused instanceof Error ? refused : new Error(String(refused)))
          }
        })
      },
    )
  },
  { name: 'json-bodies' },
)

/**
 * JSON as the rest of the server may take it: hashes are made of it, and it is walked by functions that
 * call themselves. Halves of surrogate pairs, which no UTF-8 can hold, are replaced as in the log.
 * @throws InvalidInput for a number that is infinite once it is read; Refusal for what is nested too deep
 */
function sound(value: unknown, field: string, depth: number): unknown {
  if (typeof value === 'string') return value.toWellFormed()
  if (typeof value === 'number' && !Number.isFinite(value)) {
    const name = field || 'body'
    throw new InvalidInput([{ field: name, message: `${name} is a number that is too large.` }])
  }
  if (typeof value !== 'object' || value === null) return value
  if (depth === MAX_DEPTH) {
    const detail = `The body is nested more than ${MAX_DEPTH} levels deep. Send less.`
    throw new Refusal({ code: 'malformed_json', detail })
  }
  const inner = (name: string | number, item: unknown) =>
    sound(item, field === '' ? `${name}` : `${field}.${name}`, depth + 1)
  if (Array.isArray(value)) return value.map((item, index) => inner(index, item))
  const entries = Object.entries(value)
  return Object.fromEntries(entries.map(([name, item]) => [name.toWellFormed(), inner(name, item)]))
}
