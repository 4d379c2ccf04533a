import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Turns } from '../../src/lib/semaphore.ts'

const never = new AbortController().signal

test('no more than the limit work at once, and all get their turn in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.nat({ max: 3 }), { maxLength: 12 }),
      async (limit, pauses) => {
        const turns = new Turns(limit)
        const began: number[] = []
        let working = 0
        const job = async (pause: number, index: number): Promise<void> => {
          const giveBack = await turns.take(never)
          began.push(index)
          working += 1
          expect(working).toBeLessThanOrEqual(limit)
          for (let tick = 0; tick < pause; tick += 1) await null
          working -= 1
          giveBack?.()
        }
        await Promise.all(pauses.map(job))
        expect(began).toEqual(pauses.map((_, index) => index))
      },
    ),
  )
})

test('who leaves the queue takes no turn with him', async () => {
  const turns = new Turns(1)
  const first = await turns.take(never)
  const leaving = new AbortController()
  const left = turns.take(leaving.signal)
  const last = turns.take(never)
  leaving.abort()
  expect(await left).toBeNull()
  first?.()
  expect(await last).toBeTypeOf('function')
  expect(await turns.take(AbortSignal.abort())).toBeNull()
})
