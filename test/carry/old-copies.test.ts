import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Copies } from '../../src/carry/copies.ts'
import type { RunState } from '../../src/domain/state.ts'
import { temporaryFolder } from '../runner/support.ts'

const DAY = 86_400

/** A copy whose run ended 20 days ago, and what was removed of it, if the run that continues it there ended then. */
async function discarded({ laterDay = 0, lost = '' }): Promise<readonly string[]> {
  const dataDir = join(await temporaryFolder(), 'data')
  const cwd = join(`${dataDir}-copies`, 'first', 'project')
  await mkdir(cwd, { recursive: true })
  const run = (runId: string, day: number) =>
    ({
      runId,
      config: { cwd },
      copy: { is: 'made' },
      phase: { type: 'ended' },
      endedAt: day * DAY,
      lastAt: day * DAY,
    }) as RunState
  const [first, later] = [run('first', 1), run('later', laterDay)]
  const removed: string[] = []
  const stop = new AbortController()
  const copies = new Copies({
    dataDir,
    now: () => 21 * DAY,
    log: { warn: () => {} },
    stateOf: () => {
      // After this look, it would wait for a day.
      stop.abort()
      return first
    },
    begunFrom: (runId) => (runId === 'first' ? [later] : []),
  })
  const old = {
    keepsAll: async (runId: string) => runId !== lost,
    discard: async (runId: string) => removed.push(runId),
  }
  await copies.tidy(old, stop.signal)
  return removed
}

test('an old copy is removed only if no run that continues the first one there needs it', async () => {
  expect(await discarded({ laterDay: 1 })).toEqual(['first'])
  expect(await discarded({ laterDay: 20 })).toEqual([])
  expect(await discarded({ laterDay: 1, lost: 'later' })).toEqual([])
})
