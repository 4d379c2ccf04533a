import { ok } from 'neverthrow'
import { expect, test } from 'vitest'
import { copyLog } from '../../src/log/copy-log.ts'
import { SERVERS_STREAM } from '../../src/log/log-identity.ts'
import { streamOf } from '../../src/log/run-log.ts'
import { newEvent } from '../store/contract/support.ts'
import { memoryStore } from '../support/memory-store.ts'

const RUN = streamOf('550e8400-e29b-41d4-a716-446655440000')

const placed = (stream: string, revision: number) => {
  return { ...newEvent({ revision }), stream, revision, position: '', created: 0 }
}

test('a copy leaves out the heartbeats of servers, of which the store may have dropped the first', async () => {
  const [late, later] = [placed(SERVERS_STREAM, 5), placed(SERVERS_STREAM, 6)]
  const page = ok([late, placed(RUN, 0), later, placed(RUN, 1)])
  const copied = await copyLog([page], memoryStore())
  expect(copied._unsafeUnwrap()).toEqual({ copied: 2, present: 0, leftOut: 0, streams: 1 })
})
