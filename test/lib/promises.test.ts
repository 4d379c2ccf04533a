import { expect, test } from 'vitest'
import { within } from '../../src/lib/promises.ts'

const LONG_MS = 60_000
const never = new Promise<string>(() => {})

test('what comes in time is the result, a failure too', async () => {
  const late = () => expect.unreachable()
  expect(await within(LONG_MS, Promise.resolve('here'), late)).toBe('here')
  await expect(within(LONG_MS, Promise.reject(new Error('broken')), late)).rejects.toThrow('broken')
})

test('what does not come in time is replaced, and its later failure harms nothing', async () => {
  const { promise, reject } = Promise.withResolvers<string>()
  expect(await within(1, promise, () => null)).toBeNull()
  reject(new Error('nobody waits for this'))
  const fails = within(1, never, () => {
    throw new Error('too late')
  })
  await expect(fails).rejects.toThrow('too late')
})
