import type { IncomingMessage } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'vitest'
import { test } from '../../support/test.ts'
import { Watcher } from './watcher.ts'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

test('an open WebSocket does not hold the request that opened it', async ({ server }) => {
  const requests: WeakRef<IncomingMessage>[] = []
  server.app.server.on('upgrade', (request) => requests.push(new WeakRef(request)))
  const runId = await server.createRun()
  const watchers = Array.from({ length: 5 }, () => new Watcher(server, `${runId}?kinds=all`))
  for (const watcher of watchers) await watcher.have(1)
  expect(requests).toHaveLength(5)
  // The last one may still be on a stack or in a cache of the HTTP parser.
  await expect
    .poll(() => {
      collect()
      return requests.filter((request) => request.deref() !== undefined).length
    })
    .toBeLessThanOrEqual(1)
  for (const { socket } of watchers) socket.terminate()
})
