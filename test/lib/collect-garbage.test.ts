import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { collectGarbage } from '../../src/lib/collect-garbage.ts'

test('what nothing refers to is collected at once', async () => {
  const refer = () => new WeakRef({ text: 'only here' })
  const reference = refer()
  expect(reference.deref()).toBeDefined()
  await nextTurn()
  collectGarbage()
  expect(reference.deref()).toBeUndefined()
})
