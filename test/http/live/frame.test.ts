import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { framesOf, type RunFrame } from '../../../src/http/live/frame.ts'
import { prepare, streamOf } from '../../../src/log/run-log.ts'
import type { RecordedEvent } from '../../../src/store/event-store.ts'
import { validRun } from '../../support/run-records.ts'

const RUN = '550e8400-e29b-41d4-a716-446655440000'
const stored = (records: Parameters<typeof prepare>[2]): RecordedEvent[] =>
  prepare(RUN, null, records, { commandId: 'test' }).events.map((event, revision) => ({
    ...event,
    stream: streamOf(RUN),
    revision,
    position: String(revision),
    created: 0,
  }))

function frameOf(event: RecordedEvent, projected: boolean): RunFrame {
  const [frame] = framesOf([event], projected ? event.revision : -1)
  if (frame === undefined) throw new Error('an event has a frame')
  return frame
}

describe('the frame of a stored event', () => {
  it('is the same whether it was projected before or not', () => {
    fc.assert(
      fc.property(validRun(fc.constant(RUN)), (records) => {
        for (const event of stored(records)) {
          const frame = frameOf(event, true)
          expect(frame).toEqual(frameOf(event, false))
          const text = frame.type === 'frame' ? frame.data.toString() : ''
          expect(JSON.parse(text)).toEqual({ ...JSON.parse(event.data), seq: event.revision })
        }
      }),
      { numRuns: 30 },
    )
  })

  const [created] = stored(fc.sample(validRun(fc.constant(RUN)), { numRuns: 1, seed: 1 })[0] ?? [])
  if (created === undefined) throw new Error('a run has a first record')

  it('is the same for a record that another writer formatted differently', () => {
    const spelt = {
      ...created,
      data: ` ${JSON.stringify(JSON.parse(created.data), null, 2)}\n`,
    }
    expect(frameOf(spelt, true)).toEqual(frameOf(created, true))
  })

  it('holds id and metadata on one line if they are wanted', () => {
    const spelt = { ...created, metadata: JSON.stringify(JSON.parse(created.metadata), null, 2) }
    for (const event of [created, spelt]) {
      const [frame] = framesOf([event], 0, 'with_meta')
      const text = frame?.type === 'frame' ? frame.data.toString() : ''
      const meta = JSON.parse(created.metadata)
      expect(text).not.toContain('\n')
      expect(JSON.parse(text)).toEqual({
        ...JSON.parse(created.data),
        seq: 0,
        id: created.id,
        meta,
      })
    }
  })

  it('is damage if its metadata is wanted and is not JSON', () => {
    const event = { ...created, metadata: created.metadata.slice(0, -1) }
    expect(frameOf(event, true).type).toBe('frame')
    expect(framesOf([event], 0, 'with_meta').map(({ type }) => type)).toEqual(['damage'])
  })

  it.each([
    ['broken JSON', { data: '{' }],
    ['JSON that is not a record', { data: '{"kind":"run_created"}' }],
    ['an unknown kind', { type: 'odd', data: created.data.replace('run_created', 'odd') }],
    ['a newer schema', { metadata: created.metadata.replace('"schema":1', '"schema":99') }],
    ['no metadata', { metadata: '' }],
  ])('is damage for %s', (_, change) => {
    const frame = frameOf({ ...created, ...change }, false)
    expect([frame.type, frame.seq]).toEqual(['damage', 0])
  })
})
