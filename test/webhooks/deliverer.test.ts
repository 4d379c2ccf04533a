import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { errAsync } from 'neverthrow'
import { expect, onTestFinished, test } from 'vitest'
import { streamOf } from '../../src/log/run-log.ts'
import { storeWith } from '../../src/store/event-store.ts'
import { Deliverer } from '../../src/webhooks/deliverer.ts'
import { DeliveryBook } from '../../src/webhooks/delivery-book.ts'
import { temporaryFolder } from '../runner/support.ts'
import { memoryStore } from '../support/memory-store.ts'
import { createdRecord } from '../support/run-records.ts'
import { RunWriter } from '../support/server.ts'
import { is, isAtLeast, until } from '../support/site.ts'

test('what is pending stays so, and nothing is sent again, if the run of the cursor is removed and the server is started again', async () => {
  const store = memoryStore()
  const log = { info: () => {}, warn: () => {}, error: () => {} }
  const book = DeliveryBook.open(join(await temporaryFolder(), 'webhooks.sqlite'), log)
  onTestFinished(() => book.close())
  const webhook = {
    id: randomUUID(),
    host: 'a',
    url_sha256: '',
    server: '',
    kinds: ['run_created' as const],
    run: {},
    from: null,
    created_at: 0,
    created_by: null,
    stopped: null,
  }
  const first = randomUUID()
  const removed = randomUUID()
  const last = randomUUID()
  const begin = (run: string) => new RunWriter(store, run).append([createdRecord(run)])
  const taken: string[] = []
  const start = (gone: string | null) =>
    new Deliverer(
      webhook,
      { url: '', secret: '' },
      {
        book,
        log,
        clock: () => Date.now() / 1000,
        wants: async () => true,
        isGone: (stream) => stream === gone,
        stop: async () => {},
        store: storeWith(store, {
          readStream: (stream, options) =>
            stream === gone
              ? errAsync({ type: 'stream_not_found', stream })
              : store.readStream(stream, options),
        }),
        send: async (_, __, body) => {
          const { run_id, status } = JSON.parse(body).data
          const error = run_id === removed && status !== 'removed' ? 'It answered 500.' : null
          if (error === null) taken.push(run_id)
          return { status: null, error, duration_ms: 1, answer: '' }
        },
      },
    )
  const before = start(null)
  await begin(first)
  await until(() => taken.length, is(1))
  await begin(removed)
  await until(() => before.view().state, is('retrying'))
  await before.close()
  const after = start(streamOf(removed))
  await begin(last)
  after.retry()
  await until(() => taken.length, isAtLeast(3))
  await after.close()
  expect(taken.toSorted()).toEqual([first, removed, last].toSorted())
})
