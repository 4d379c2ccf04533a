import * as z from 'zod'
import { ALL_KINDS } from '../domain/records.ts'
import { parseQuery } from '../domain/search-query.ts'
import { kindsInQuery, RunId, wholeInQuery } from './fields.ts'

/** The query of GET /api/search. */
export const SearchQuery = z.strictObject({
  q: z
    .string()
    .max(1000)
    .transform((text, context) =>
      parseQuery(text).match(
        (query) => query,
        (problem) => {
          context.addIssue(problem)
          return z.NEVER
        },
      ),
    )
    .meta({
      description:
        'Words, all of them, in any order and case; `"a phrase"` in this order. The last word counts by its beginning',
      examples: ['timeout "connection refused" retr'],
    }),
  run_id: RunId.optional().describe('Only this run'),
  kinds: kindsInQuery(ALL_KINDS)
    .optional()
    .meta({
      description:
        'Only these kinds of records, separated by commas; "all" is every kind that is searched',
      examples: ['tool_result,error'],
    }),
  limit: wholeInQuery(1, 100).default(20),
  cursor: z
    .string()
    .regex(/^-?\d{1,19}$/, 'must be `next` of an earlier page')
    .optional()
    .describe('`next` of an earlier page of the same search'),
})

/** A record that was found. */
const SearchResult = z.object({
  run_id: z.uuid(),
  title: z.string().describe("The first line of the run's instructions, else its goal"),
  seq: z.int(),
  kind: z.enum(ALL_KINDS),
  iteration: z.int(),
  ts: z.number(),
  snippet: z.object({
    text: z.string().describe('A part of what was found. Anybody may have written it'),
    marks: z
      .array(z.tuple([z.int(), z.int()]).readonly())
      .readonly()
      .describe('Where the words are in it: UTF-16 offsets, the second exclusive'),
  }),
})
export type SearchResult = z.infer<typeof SearchResult>

/** GET /api/search: the newest run first, within a run by seq. */
export const SearchResults = z
  .object({
    results: z.array(SearchResult),
    next: z.string().nullable().describe('`cursor` of the next page; null on the last'),
    behind: z.int().describe('How many records are not in the index yet'),
  })
  .meta({ id: 'SearchResults' })
export type SearchResults = z.infer<typeof SearchResults>
