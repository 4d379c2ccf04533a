import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Semaphore } from '../../src/lib/semaphore.ts'

const never = new AbortController().signal

test('no more jobs than the limit work at once, and all are admitted in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.nat({ max: 3 }), { maxLength: 12 }),
      async (limit, pauses) => {
        const semaphore = new Semaphore(limit)
        const began: number[] = []
        let working = 0
        const job = async (pause: number, index: number): Promise<void> => {
          const release = await semaphore.acquire(never)
          began.push(index)
          working += 1
          expect(working).toBeLessThanOrEqual(limit)
          for (let tick = 0; tick < pause; tick += 1) await null
          working -= 1
          release?.()
        }
        await Promise.all(pauses.map(job))
        expect(began).toEqual(pauses.map((_, index) => index))
      },
    ),
  )
})

test('a job that leaves the queue holds no place', async () => {
  const semaphore = new Semaphore(1)
  const first = await semaphore.acquire(never)
  const leaving = new AbortController()
  const left = semaphore.acquire(leaving.signal)
  const last = semaphore.acquire(never)
  leaving.abort()
  expect(await left).toBeNull()
  first?.()
  expect(await last).toBeTypeOf('function')
  expect(await semaphore.acquire(AbortSignal.abort())).toBeNull()
})
