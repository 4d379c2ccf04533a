import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseQuery, snippetOf, tokensOf } from '../../src/domain/search-query.ts'
import {
  SearchFile,
  type SearchProgress,
  type SearchRequest,
  type SearchRow,
} from '../../src/projections/search/search-file.ts'
import { temporaryFiles } from './support.ts'

const file = temporaryFiles()

const PROGRESS: Omit<SearchProgress, 'redaction'> = {
  log_id: null,
  last: null,
  records: 0,
}

type Said = Omit<SearchRow, 'words'> & { readonly text: string }

const rowOf = ({ text, ...row }: Said): SearchRow => ({
  ...row,
  words: tokensOf(text)
    .map(({ word }) => word)
    .join(' '),
})

const KINDS = ['tool_call', 'tool_result', 'error'] as const
const RUNS = Array.from({ length: 4 }, (_, at) => ({ runId: randomUUID(), ts: 1000 + (at % 3) }))
/** Few words, so that most queries find something, in many disguises. */
const word = fc.constantFrom(
  'a',
  'ab',
  'ABC',
  'äb',
  'a\u0301b',
  'x_ab',
  '1',
  '水火',
  'AND',
  'near(',
)
const said = fc.array(
  fc.record({
    run: fc.constantFrom(...RUNS),
    kind: fc.constantFrom(...KINDS),
    text: fc.array(word, { maxLength: 5 }).map((words) => words.join(' ')),
  }),
  { maxLength: 40 },
)
const asked = fc.record({
  q: fc.oneof(
    fc
      .array(fc.oneof(word, fc.constant('"')), { minLength: 1, maxLength: 4 })
      .map((w) => w.join(' ')),
    fc.string({ unit: 'binary', maxLength: 12 }),
  ),
  runId: fc.constantFrom(null, ...RUNS.map(({ runId }) => runId)),
  kinds: fc.constantFrom(null, [KINDS[0]], [KINDS[1], KINDS[2]]),
  limit: fc.integer({ min: 1, max: 5 }),
})

/** All pages of a search. */
function pagesOf(index: SearchFile, request: Omit<SearchRequest, 'after'>): string[] {
  const found: string[] = []
  let after: bigint | null = null
  for (;;) {
    const hits = index.find({ ...request, after })
    found.push(...hits.map(({ runId, seq }) => `${runId} ${seq}`))
    after = hits.at(-1)?.at ?? null
    if (hits.length < request.limit || after === null) return found
  }
}

test('the index finds what a look at every record finds, newest run first', () => {
  fc.assert(
    fc.property(said, fc.array(asked, { minLength: 5, maxLength: 20 }), (texts, queries) => {
      const seqs = new Map<string, number>()
      const all: Said[] = texts.map(({ run, kind, text }) => {
        const seq = seqs.get(run.runId) ?? 0
        seqs.set(run.runId, seq + 1)
        return { ...run, kind, text, seq }
      })
      const index = new SearchFile(file())
      for (const [from, to] of [[0, 7], [7]] as const)
        index.add(all.slice(from, to).map(rowOf), PROGRESS)
      for (const { q, ...request } of queries) {
        const query = parseQuery(q).unwrapOr(null)
        if (query === null) continue
        const matching = all.filter(({ runId, kind, text }) => {
          const { kinds } = request
          const isWanted = request.runId === null || request.runId === runId
          const isOfKind = kinds === null || (kinds as readonly string[]).includes(kind)
          return isWanted && isOfKind && snippetOf(text, query) !== null
        })
        const found = pagesOf(index, { ...request, query })
        const name = ({ runId, seq }: Said): string => `${runId} ${seq}`
        expect(found.toSorted()).toEqual(matching.map(name).toSorted())
        const placed = found.map((each) => all.find((one) => name(one) === each))
        for (const [at, next] of placed.slice(1).entries()) {
          const last = placed[at]
          if (last === undefined || next === undefined) throw new Error('not there')
          expect(last.runId === next.runId ? last.seq < next.seq : last.ts >= next.ts).toBe(true)
        }
      }
      index.close()
    }),
  )
})
