import { describe, expect, test } from 'vitest'
import { readText } from '../../src/client/events.ts'

const RUN = '550e8400-e29b-41d4-a716-446655440000'
const STEP = {
  kind: 'step_start',
  run_id: RUN,
  iteration: 1,
  ts: 1739800000.123,
  payload: { node: 'plan' },
  seq: 2,
}
const read = (frame: unknown) => readText(JSON.stringify(frame))

describe('a frame', () => {
  test('of a known kind is an event', () => {
    expect(read(STEP)._unsafeUnwrap()).toEqual({ type: 'event', seq: 2, event: STEP })
  })

  test('may hold the id and the metadata of the record', () => {
    const meta = { schema: 1, command_id: 'c', salt: '00', prev_hash: '0', hash: '1', later: {} }
    const kept = { ...STEP, id: 'an-id', meta }
    expect(read(kept)._unsafeUnwrap()).toEqual({ type: 'event', seq: 2, event: kept })
    for (const [wrong, named] of [
      [{ id: 1 }, 'id'],
      [{ id: undefined }, 'id'],
      [{ meta: { ...meta, hash: undefined } }, 'meta.hash'],
    ] as const) {
      expect(read({ ...kept, ...wrong })._unsafeUnwrapErr()).toContain(named)
    }
  })

  test('with metadata is marked as altered if its text is not the text that the server would write', () => {
    const meta = { schema: 1, command_id: 'c', salt: '00', prev_hash: '0', hash: '1' }
    const text = JSON.stringify({ ...STEP, id: 'an-id', meta })
    const event = JSON.parse(text)
    expect(readText(text)._unsafeUnwrap()).toEqual({ type: 'event', seq: 2, event })
    for (const changed of [
      text.replace('"payload":', '"payload":{"node":"act"},"payload":'),
      text.replace('"iteration":1', '"iteration":1.0'),
      text.replace('"kind"', '"\\u006bind"'),
      `${text} `,
    ]) {
      expect(changed).not.toBe(text)
      const altered = { type: 'event', seq: 2, event: { ...event, altered: true } }
      expect(readText(changed)._unsafeUnwrap()).toEqual(altered)
    }
  })

  test('may be the notice that everything stored has been sent', () => {
    const caughtUp = { kind: 'caught_up', run_id: RUN, seq: 41 }
    expect(read(caughtUp)._unsafeUnwrap()).toEqual({ type: 'caught_up', place: 41 })
    for (const cursor of ['a.41', null]) {
      const ofAll = { kind: 'caught_up', cursor }
      expect(read(ofAll)._unsafeUnwrap()).toEqual({ type: 'caught_up', place: cursor })
    }
  })

  test('may have fields that this client does not know, which are kept', () => {
    const newer = { ...STEP, payload: { node: 'plan', colour: 'green' }, shape: 'round' }
    expect(read(newer)._unsafeUnwrap()).toEqual({ type: 'event', seq: 2, event: newer })
  })

  test('of a kind that this client does not know has its seq nevertheless', () => {
    const newer = { ...STEP, kind: 'coffee_break', payload: {} }
    expect(read(newer)._unsafeUnwrap()).toEqual({ type: 'unknown_kind', seq: 2 })
  })

  test.each(['{"kind":', '[]', 'null'])('that is %s is refused', (text) => {
    expect(readText(text)._unsafeUnwrapErr()).toContain('not a JSON object')
  })

  test.each([
    [{ seq: undefined }, 'seq'],
    [{ seq: 1.5 }, 'seq'],
    [{ kind: undefined }, 'kind'],
    [{ ts: 'now' }, 'ts'],
    [{ payload: { node: 'lunch', colour: 'green' } }, 'payload.node'],
  ])('that has %j is refused', (changes, named) => {
    expect(read({ ...STEP, ...changes })._unsafeUnwrapErr()).toContain(named)
  })
})
