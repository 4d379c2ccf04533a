import fc from 'fast-check'
import { expect } from 'vitest'
import { ALL_KINDS, createClient, DOCUMENTED_KINDS, type Kinds } from '../../src/client/index.ts'
import type { Kind, RunRecord } from '../../src/domain/records.ts'
import { validAppends } from '../support/run-records.ts'
import { RunWriter } from '../support/server.ts'
import { testWith } from '../support/test.ts'
import { startCuttingProxy } from './cutting-proxy.ts'

const limits = { retryMs: [1, 4], bufferChars: 3000 } as const
const SOME = ['goal_check', 'error', 'tool_call'] as const

const test = testWith({ live: { ringFrames: 5, ringBytes: 4000, pageBytes: 2000 } })

const chosen = (kinds: Kinds | undefined): readonly Kind[] => {
  if (kinds === 'all') return ALL_KINDS
  return kinds ?? DOCUMENTED_KINDS
}

test('a watch gets every event once and in order, wherever its connections break', async ({
  server,
}) => {
  let cuts = 0
  await fc.assert(
    fc.asyncProperty(
      validAppends(fc.uuid({ version: 4 }), { maxMoves: 40 }),
      // The number of bytes after which each connection breaks; the last one does not break.
      fc.array(fc.nat({ max: 3000 }), { maxLength: 12 }),
      fc.constantFrom<Kinds | undefined>('all', undefined, SOME),
      async (made, allowances, kinds) => {
        const runId = crypto.randomUUID()
        const appends = made.map((records) => records.map((r) => ({ ...r, run_id: runId })))
        const logged = appends.flat().map((record, seq) => ({ ...record, seq }))
        const expected = logged.filter(({ kind }) => chosen(kinds).includes(kind))
        const ends = logged.at(-1)?.kind === 'run_end'

        const left = [...allowances]
        const proxy = await startCuttingProxy(
          server.port,
          () => left.shift() ?? Number.POSITIVE_INFINITY,
        )
        const writer = new RunWriter(server.store, runId)
        await writer.append(appends[0] ?? [])
        const writing = writeAll(writer, appends.slice(1))
        const got: unknown[] = []
        if (ends || expected.length > 0) {
          const client = createClient({ baseUrl: proxy.url, limits })
          for await (const event of client.watch(runId, { kinds })) {
            got.push(event)
            // A run that does not end has no more events.
            if (!ends && got.length === expected.length) break
          }
        }
        await writing
        cuts += allowances.length - left.length
        await proxy.stop()
        expect(got).toEqual(JSON.parse(JSON.stringify(expected)))
      },
    ),
    { numRuns: 25 },
  )
  // The property is tested only if connections did break.
  expect(cuts).toBeGreaterThan(25)
})

async function writeAll(writer: RunWriter, appends: readonly RunRecord[][]): Promise<void> {
  for (const records of appends) await writer.append(records)
}
