import { expect, test } from 'vitest'
import { loadedOnce } from '../../src/lib/loaded-once.ts'

test('what is loaded is kept, and loaded again only after a failure', async () => {
  let loads = 0
  const get = loadedOnce(async () => {
    loads += 1
    if (loads === 1) throw new Error('too many open files')
    return { loads }
  })
  await Promise.all([expect(get()).rejects.toThrow('too many'), expect(get()).rejects.toThrow()])
  const loaded = await get()
  expect([loaded.loads, await get()]).toEqual([2, loaded])
})
