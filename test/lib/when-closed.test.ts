import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { whenClosed } from '../../src/lib/when-closed.ts'

test.each(['before', 'after'])('a listener is called once if it comes %s the end', async (when) => {
  const stream = new PassThrough()
  let calls = 0
  const listen = () => whenClosed(stream, () => (calls += 1))
  if (when === 'before') listen()
  expect(calls).toBe(0)
  stream.destroy()
  await once(stream, 'close')
  if (when === 'after') listen()
  expect(calls).toBe(1)
})
