import { describe, expect } from 'vitest'
import { PartFrame, PartsEnd } from '../../../src/api/frames.ts'
import { type Attempt, LiveParts, type PartName } from '../../../src/live/live-parts.ts'
import { processMask } from '../../../src/masking/process-mask.ts'
import { ask } from '../../support/requests.ts'
import { CLAIM, iteration, type TestServer } from '../../support/server.ts'
import { testWith } from '../../support/test.ts'
import { EventReader } from '../history/event-source.ts'
import { SocketReader, Watcher } from './watcher.ts'

const liveParts = new LiveParts(processMask)
const test = testWith({ liveParts })
let server: TestServer
test.beforeAll(({ server: started }) => {
  server = started
})

/** An observer that keeps the frames of every kind. */
class Observer extends SocketReader<{ readonly kind: string; readonly [name: string]: unknown }> {
  constructor(path: string) {
    super(server, path, (json) => json as Observer['frames'][number])
  }

  get kinds(): string[] {
    return this.frames.map(({ kind }) => kind)
  }

  /** The text of a part as this observer has it. */
  text(of: string): string {
    const parts = this.frames.flatMap((frame) => PartFrame.safeParse(frame).data ?? [])
    return parts
      .filter((part) => part.of === of)
      .reduce((text, part) => {
        expect(part.offset).toBe(text.length)
        return text + part.text
      }, '')
  }
}

const TEXT: PartName = { of: 'text' }
const RUN = { goal: 'pytest', iteration: 1 }
/** The seq of the last record before the first request to the model. */
const PLANNED = 2

let runId: string
let attempt: Attempt
test.beforeEach(async () => {
  runId = await server.createRun({}, CLAIM)
  attempt = liveParts.begin({ runId, ...RUN, seq: PLANNED })
})

test.afterEach(() => {
  for (const each of liveParts.underWay(null)) each.end('withdrawn')
})

async function reply(): Promise<void> {
  await server.agentDoes(runId, ...iteration(false))
  attempt.end({ recordedUpTo: PLANNED + 2 })
}

describe('an observer with live=true', () => {
  test('gets a part while it is written, and its end after the record that replaces it', async () => {
    using observer = new Observer(`/${runId}?kinds=all&live=true`)
    await observer.until(({ frames }) => frames.length === PLANNED + 1)
    attempt.write(TEXT, 'I will\n')
    await observer.until((it) => it.text('text') === 'I will\n')
    attempt.write(TEXT, 'look.\n')
    await observer.until((it) => it.text('text') === 'I will\nlook.\n')
    expect(observer.frames.at(PLANNED + 1)).toEqual({
      kind: 'part',
      run_id: runId,
      iteration: 1,
      attempt: PLANNED,
      of: 'text',
      offset: 0,
      text: 'I will\n',
      partial: true,
    })
    await reply()
    await observer.until(({ kinds }) => kinds.includes('goal_check'))
    const at = observer.kinds.indexOf('parts_end')
    expect(observer.kinds[at - 1]).toBe('assistant_message')
    expect(observer.frames[at]).toEqual({
      kind: 'parts_end',
      run_id: runId,
      attempt: PLANNED,
      outcome: 'recorded',
    })
    expect(observer.kinds.filter((kind) => kind === 'parts_end')).toHaveLength(1)
  })

  test('that joins late gets the part so far, once, and then the rest', async () => {
    attempt.write(TEXT, 'one\n')
    attempt.write({ of: 'arguments', call: 0, tool: 'bash_exec' }, '')
    attempt.write(TEXT, 'two\n')
    using late = new Observer(`/${runId}?live=true`)
    await late.until(({ kinds }) => kinds.filter((kind) => kind === 'part').length === 2)
    attempt.write(TEXT, 'three\n')
    await late.until((it) => it.text('text') === 'one\ntwo\nthree\n')
    expect(late.frames.filter(({ of }) => of === 'arguments')).toMatchObject([
      { call: 0, tool: 'bash_exec', offset: 0, text: '' },
    ])
  })

  test('gets the end of an attempt even if its kinds leave out the record, and its run is named in capitals', async () => {
    using observer = new Observer(`/${runId.toUpperCase()}?kinds=goal_check&live=true`)
    await observer.opened()
    attempt.write(TEXT, 'I will\n')
    await observer.until(({ kinds }) => kinds.includes('part'))
    await reply()
    await observer.until(({ kinds }) => kinds.includes('goal_check'))
    expect(observer.kinds).toEqual(['part', 'parts_end', 'goal_check'])
  })

  test('gets nothing of a part after its record, even if the agent ends the part late', async () => {
    using observer = new Observer(`/${runId}?kinds=all&live=true`)
    attempt.write(TEXT, 'I will\n')
    await observer.until(({ kinds }) => kinds.includes('part'))
    await server.agentDoes(runId, ...iteration(false))
    await observer.until(({ kinds }) => kinds.includes('goal_check'))
    attempt.write(TEXT, 'never\n')
    const next = liveParts.begin({ runId, ...RUN, iteration: 2, seq: observer.frames.length - 3 })
    next.write(TEXT, 'next\n')
    await observer.until(({ frames }) => frames.some(({ text }) => text === 'next\n'))
    expect(observer.frames.some(({ text }) => text === 'never\n')).toBe(false)
  })

  test('that does not read loses no record, keeps the order, and gets the new text in one part', async () => {
    using observer = new Observer(`/${runId}?kinds=all&live=true`)
    await observer.until(({ frames }) => frames.length === PLANNED + 1)
    observer.socket.pause()
    const line = `${'x'.repeat(1023)}\n`
    // More than the buffers of both kernels hold, so that parts wait for the client.
    for (let round = 0; round < 400; round += 1) {
      for (let count = 0; count < 32; count += 1) attempt.write(TEXT, line)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const buffered = [...server.app.websocketServer.clients].map((c) => c.bufferedAmount)
    expect(Math.max(...buffered)).toBeLessThan(1024 * 1024)
    await reply()
    observer.socket.resume()
    await observer.until(({ kinds }) => kinds.includes('goal_check'))
    const ends: number[] = []
    for (const frame of observer.frames) {
      const part = PartFrame.safeParse(frame)
      if (part.success) ends.push(part.data.offset, part.data.offset + part.data.text.length)
    }
    expect(ends).toEqual(ends.toSorted((a, b) => a - b))
    const seqs = observer.frames.flatMap(({ seq }) => (typeof seq === 'number' ? [seq] : []))
    expect(seqs).toEqual(seqs.map((_, index) => index))
  })

  test('gets nothing more of what is under way when a text of the run is redacted', async () => {
    await reply()
    attempt = liveParts.begin({ runId, ...RUN, iteration: 2, seq: 8 })
    using observer = new Observer(`/${runId}?live=true`)
    attempt.write(TEXT, 'I will\n')
    await observer.until(({ kinds }) => kinds.includes('part'))
    const redaction = { seq: 4, pointer: '/text', reason: 'private' }
    const { status } = await ask(server, `POST /api/runs/${runId}/redact`, redaction)
    expect(status).toBe(200)
    await observer.until(({ kinds }) => kinds.includes('parts_end'))
    attempt.write(TEXT, 'more\n')
    using late = new Observer(`/${runId}?live=true&kinds=all`)
    await late.until(({ frames }) => frames.length > PLANNED)
    expect([...observer.kinds, ...late.kinds].filter((kind) => kind === 'part')).toHaveLength(1)
  })

  test('of all runs gets the parts of the runs that it selects', async () => {
    // The end of the log, as far as this server has read it.
    await expect.poll(() => server.readModel.get(runId)?.state.seq).toBe(PLANNED)
    const all = new Observer('?after=end&live=true&caught_up=true')
    const other = new Observer('?after=end&live=true&caught_up=true&goal=npm-test')
    const here = new Observer(`?after=end&live=true&caught_up=true&run_id=${runId}`)
    const done = new Observer('?after=end&live=true&caught_up=true&status=achieved')
    const observers = [all, other, here, done]
    await Promise.all(observers.map((it) => it.until(({ kinds }) => kinds.includes('caught_up'))))
    attempt.write(TEXT, 'I will\n')
    await Promise.all([all, here].map((it) => it.until(({ kinds }) => kinds.includes('part'))))
    await reply()
    await all.until(({ kinds }) => kinds.includes('goal_check'))
    expect(all.kinds.slice(0, 5)).toEqual([
      'caught_up',
      'part',
      'llm_usage',
      'parts_end',
      'step_start',
    ])
    expect([...other.kinds, ...done.kinds]).not.toContain('part')
    for (const observer of observers) observer.socket.close()
  })

  test('over server-sent events gets them as events named part, without an id', async () => {
    for (const path of [`/api/runs/${runId}/events?live=true`, '/api/events?live=true&after=end']) {
      for (const each of liveParts.underWay(runId)) each.end('withdrawn')
      attempt = liveParts.begin({ runId, ...RUN, seq: PLANNED })
      using reader = new EventReader(server, path)
      await reader.response
      attempt.write(TEXT, 'I will\n')
      await reader.until(({ events }) => events.some(({ type }) => type === 'part'))
      attempt.write(TEXT, 'look.\n')
      await reader.until(({ events }) => events.some(({ data }) => data.includes('look.')))
      attempt.end('withdrawn')
      await reader.until(({ events }) => events.some(({ data }) => data.includes('parts_end')))
      const parts = reader.events.filter(({ type }) => type === 'part')
      expect(parts.map(({ data }) => PartFrame.or(PartsEnd).parse(JSON.parse(data)).kind)).toEqual([
        'part',
        'part',
        'parts_end',
      ])
      expect(new Set(parts.map(({ id }) => id)).size).toBe(1)
    }
  })
})

test('observers that do not ask for parts get the frames that they always got', async () => {
  const asking = new Observer(`/${runId}?kinds=all&live=true`)
  const plain = new Watcher(server, `${runId}?kinds=all`)
  const without = new Watcher(server, `${runId}?kinds=all&live=false`)
  await Promise.all([plain.have(PLANNED + 1), without.have(PLANNED + 1)])
  attempt.write(TEXT, 'I will\n')
  await asking.until(({ kinds }) => kinds.includes('part'))
  await reply()
  await server.agentDoes(runId, ...iteration(true))
  await Promise.all([plain.closed, without.closed])
  const later = new Watcher(server, `${runId}?kinds=all`)
  await later.closed
  expect(plain.texts).toEqual(later.texts)
  expect(without.texts).toEqual(later.texts)
  const records = asking.frames.filter(({ seq }) => seq !== undefined)
  expect(records.map((frame) => JSON.stringify(frame))).toEqual(later.texts)
})
