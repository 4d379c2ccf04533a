import * as z from 'zod'

/** No stream has a record with a larger seq, nor ever will. */
export const MAX_SEQ = 9_999_999_999

/** The seq of a record in the body of a request. */
export const SeqInBody = z.int().nonnegative().max(MAX_SEQ)

/** A run id as a client gives it: a UUID in either case. Streams have it in lower case. */
export const RunId = z.uuid('must be a UUID').toLowerCase()

/** A number without a sign, written in decimal digits. JavaScript reads `0x10`, `1e2`, `+5` and ` 5` as numbers, too. */
export const Decimal = z
  .string()
  .regex(/^\d{1,15}(\.\d{1,9})?$/, 'must be a number in decimal digits')
  .transform(Number)

/** Kinds separated by commas in a query, or "all". */
export const kindsInQuery = <K extends string>(all: readonly K[]) =>
  z.string().transform((text, context): ReadonlySet<K> => {
    if (text === 'all') return new Set(all)
    const kinds = text.split(',').map((name) => all.find((kind) => kind === name))
    if (kinds.includes(undefined)) context.addIssue(`must be "all", or some of ${all.join(', ')}`)
    return new Set(kinds.filter((kind) => kind !== undefined))
  })

export const flagInQuery = () => z.enum(['true', 'false']).transform((text) => text === 'true')

const WHOLE = /^-?\d{1,15}$/

/** A whole number of a query: described as a number, and written in decimal digits. Both limits are inclusive. */
export const wholeInQuery = (min: number, max: number) =>
  z.preprocess((text, context) => {
    if (typeof text === 'string' && WHOLE.test(text)) return Number(text)
    context.addIssue('must be a whole number in decimal digits')
    return z.NEVER
  }, z.int().min(min).max(max))
