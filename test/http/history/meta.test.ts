import { describe, expect } from 'vitest'
import * as z from 'zod'
import { type VerifiedRun, verifyRecord } from '../../../src/audit/verify/verify-run.ts'
import { streamOf } from '../../../src/log/run-log.ts'
import { achievedRun, ask } from '../../support/requests.ts'
import { bound, CLAIM, iteration, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'
import { SocketReader } from '../live/watcher.ts'
import { getLines } from './support.ts'

type Frame = Record<string, unknown>

/** The streams of runs that were subscribed to. */
const subscriptions: string[] = []
const test = testWith({
  // Small, so that observers fall out of the ring and pages end in the middle of a run.
  live: { pageBytes: 4000, ringFrames: 4, ringBytes: 4000 },
  wrapStore: (store) => ({
    ...bound(store),
    subscribeStream: (stream, options) => {
      subscriptions.push(stream)
      return store.subscribeStream(stream, options)
    },
  }),
})

/** The frames of a run with their metadata, by its definition. */
async function framesOf({ store }: TestServer, runId: string): Promise<Frame[]> {
  const options = { from: 0, direction: 'forward', limit: 1000 } as const
  const events = (await store.readStream(streamOf(runId), options))._unsafeUnwrap()
  return events.map(({ id, data, metadata, revision: seq, type: kind }) => {
    return { ...JSON.parse(data), kind, seq, id, meta: JSON.parse(metadata) }
  })
}

const plain = ({ id: _, meta: __, ...frame }: Frame): Frame => frame

describe('the frames of a run with meta=true', () => {
  test('are enough to verify the run', async ({ server }) => {
    const runId = await achievedRun(server)
    const frames = await getLines(server, `/api/runs/${runId}/events?kinds=all&meta=true`)
    let run: VerifiedRun | null = null
    for (const { seq, id, meta: metadata, ...data } of frames) {
      const stored = { seq: Number(seq), id: String(id), type: String(data.kind), data, metadata }
      run = verifyRecord(runId, run, stored)._unsafeUnwrap().run
    }
    const { body } = await ask(server, `GET /api/runs/${runId}/proof`)
    const proof = z.object({ length: z.int(), head: z.string() }).parse(body)
    expect([run?.seq, run?.head]).toEqual([proof.length - 1, proof.head])
  })

  test('come live beside frames without, over one subscription of the run', async ({
    server,
    runId,
  }) => {
    const forms = ['&meta=true', '', '&meta=true', '&meta=false', '&meta=true', '']
    const live = forms.map((form) => {
      const path = `/${runId}?kinds=all&caught_up=true${form}`
      return { form, reader: new SocketReader(server, path, (json) => json as Frame) }
    })
    await Promise.all(live.map(({ reader }) => reader.have(2)))
    await server.agentDoes(runId, CLAIM, ...iteration(false))
    await server.agentDoes(runId, ...iteration(true))
    await Promise.all(live.map(({ reader }) => reader.closed))
    const all = await framesOf(server, runId)
    for (const { reader, form } of live) {
      const records = reader.frames.filter(({ kind }) => kind !== 'caught_up')
      expect(records).toEqual(form === '&meta=true' ? all : all.map(plain))
    }
    expect(subscriptions.filter((stream) => stream === streamOf(runId))).toHaveLength(1)
  })
})
