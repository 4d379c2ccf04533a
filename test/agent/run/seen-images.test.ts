import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import { withImages } from '../../../src/agent/run/model-request.ts'
import { recordedOutput } from '../../../src/agent/tools/recorded-output.ts'
import { compact } from '../../../src/domain/compaction.ts'
import type { Conversation } from '../../../src/domain/conversation.ts'
import { converse } from '../../../src/domain/converse.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { messagesWithout, toMessages } from '../../../src/domain/sent-messages.ts'
import type { RunState } from '../../../src/domain/state.ts'
import type { Models } from '../../../src/models/model.ts'
import { createModels } from '../../../src/models/models.ts'
import { sentConversation } from '../../../src/queries/run-history.ts'
import { claim, create, given, reply, result } from '../../domain/support.ts'
import { fixture, withServers } from '../../mcp/support.ts'
import { pngOf } from '../images.ts'
import { only, payloadsOf, played, reachGoal, type Workshop } from '../support.ts'

const PICTURE = pngOf(20, 10, [0, 120, 0])
const URL_OF_PICTURE = `data:image/png;base64,${PICTURE.toString('base64')}`
const look = { tool: 'file_read', args: { path: 'plot.png' } }

/** A run whose model may be shown images, with an MCP server that sends some. */
async function seeing(script: Script, images: boolean | null = true) {
  const facts = { prices: undefined, windowTokens: undefined, maxOutputTokens: undefined }
  const effects = ({ url, artifacts }: Workshop) => ({
    ...withServers(),
    models: createModels({
      RETRAI_LLM_BASE_URL: url,
      ownModels: new Map([['scripted', images === null ? facts : { ...facts, images }]]),
    }),
    openOutput: (_: string, sha256: string) => artifacts.read(sha256),
  })
  const config = { max_turns_per_iteration: 50, mcp_servers: [fixture('good')] }
  const run = await played(script, config, effects, { 'plot.png': PICTURE })
  const sent = run.requests.map((request) => request.messages.flatMap((one) => one.images ?? []))
  return { ...run, result: run.results[0], sent, effects: effects(run.shop) }
}

const picturesOf = (word: string) => ({ tool: 'mcp__fix__picture', args: { word } })

const conversationOf = (records: readonly RunRecord[]): Conversation => {
  const whole = records.reduce<Conversation | null>(converse, null)
  if (whole === null) throw new Error('a run has records')
  return whole
}

/** How many images a request with all of it holds. */
const imagesOf = (conversation: Conversation): number =>
  messagesWithout(conversation, 0).filter((m) => m.role === 'tool' && m.image !== undefined).length

async function expectKept({ artifacts }: Workshop, sha256: string | null = null) {
  const kept = await artifacts.read(sha256 ?? '')
  expect(kept && (await buffer(kept.stream)).equals(PICTURE)).toBe(true)
}

test('an image is a part of every request after its result, and is counted in the records', async () => {
  const script = [{ calls: [look] }, { text: 'Green.' }, { calls: [reachGoal] }]
  const { shop, records, result, sent } = await seeing(script)
  expect(sent.slice(0, 3)).toEqual([[], [URL_OF_PICTURE], [URL_OF_PICTURE]])
  const counts = payloadsOf(records, 'llm_usage').map(({ images = 0 }) => images)
  expect(counts.slice(0, 3)).toEqual([0, 1, 1])
  const { sha256, image, output } = result ?? {}
  expect(image).toEqual({ media_type: 'image/png', width: 20, height: 10 })
  expect(output).toBe(`plot.png: PNG image, 20 × 10 pixels, ${PICTURE.length} bytes.`)
  await expectKept(shop, sha256)
  const deps = { store: shop.store, contextBudget: async () => 96_000 }
  const { run_id } = only(records, 'run_end')
  const last = (await sentConversation(run_id, records.length - 3, deps))._unsafeUnwrap()
  expect(last.messages.filter((m) => m.role === 'tool')[0]).toMatchObject({ image: { sha256 } })
})

test.each([null, false])(
  'an endpoint of the user is sent no images if images is %s',
  async (images) => {
    const { result, sent } = await seeing([{ calls: [look] }, { calls: [reachGoal] }], images)
    expect(result?.output).toContain('takes no images')
    expect(sent.flat()).toEqual([])
  },
)

test('without its image, a result has a note: if it was removed, and if the model cannot see it', async () => {
  const script = [{ calls: [look] }, { text: 'Hm.' }, { calls: [reachGoal] }]
  const { shop, records, result, effects } = await seeing(script)
  const { messages } = toMessages(conversationOf(records), 96_000)
  const { config: own } = only(records, 'run_created').payload
  const state = { config: own, runId: 'r' } as RunState
  const textWith = async (changes: Partial<Models> = {}) => {
    const models = { ...effects.models, ...changes }
    const sent = await withImages(state, { ...effects, models }, messages)
    expect(sent.images).toBe(0)
    return JSON.stringify(sent.messages)
  }
  expect(await textWith({ imageTypes: async () => [] })).toContain('takes no such images')
  await shop.artifacts.remove(result?.sha256 ?? '')
  expect(await textWith()).toContain('it was removed')

  const redacted = records.map((record) =>
    record.kind === 'tool_result' && record.payload.image !== undefined
      ? { ...record, payload: { ...record.payload, output: '[redacted]' } }
      : record,
  )
  expect([records, redacted].map((all) => imagesOf(conversationOf(all)))).toEqual([1, 0])
  const after = compact(conversationOf(records), { turns: 1, summary: 'It looked.' })
  const text = JSON.stringify(toMessages(after, 96_000).messages)
  expect(text).not.toContain('"image"')
})

test('if there are too many images, the older half is left out at once, so most requests keep their prefix', () => {
  const image = { media_type: 'image/png', width: 20, height: 10 } as const
  const seen = result('c0', 'file_read', 'plot.png', 'ok', { image, sha256: 'a'.repeat(64) })
  const { records } = given(create(), claim(), reply(['file_read']), seen)
  const conversation = conversationOf(records)
  const { turn } = conversation.turns ?? {}
  if (turn === undefined) throw new Error('there is a turn')
  const kept = Array.from({ length: 42 }, (_, n) => {
    let many: Conversation['turns'] = null
    for (let count = 1; count <= n + 1; count += 1)
      many = { turn: { ...turn }, before: many, count }
    return imagesOf({ ...conversation, turns: many })
  })
  expect(kept.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, n) => n + 1))
  expect(kept.slice(20, 23)).toEqual([10, 11, 12])
  expect(Math.max(...kept)).toBe(20)
})

test('the first image of an MCP result is shown and kept; the text names it and everything else', async () => {
  const script = [{ calls: [picturesOf('plot.png plot.png')] }, { calls: [reachGoal] }]
  const { shop, result, sent } = await seeing(script)
  const { sha256, image, output, bytes, outcome } = result ?? {}
  expect(image).toEqual({ media_type: 'image/png', width: 20, height: 10 })
  expect({ bytes, outcome }).toEqual({ bytes: PICTURE.length, outcome: 'ok' })
  const about = `PNG image, 20 × 10 pixels, ${PICTURE.length} bytes`
  expect(output?.split('\n')).toEqual([
    'Seen:',
    `[audio, audio/wav, ${PICTURE.length} bytes: not shown]`,
    `[${about}]`,
    `[${about}. It is not shown: a result holds one image.]`,
    `[resource file:///last, ${about}. It is not shown: a result holds one image.]`,
  ])
  await expectKept(shop, sha256)
  expect(sent.slice(0, 2)).toEqual([[], [URL_OF_PICTURE]])
})

test('an MCP image that the model cannot see is named, and the call succeeds', async () => {
  const script = [{ calls: [picturesOf('plot.png')] }, { calls: [reachGoal] }]
  const { result, sent } = await seeing(script, false)
  expect(result).toMatchObject({ outcome: 'ok', sha256: null, truncated: false })
  expect(result?.output).toContain('bytes. It is not shown: the model in use takes no images.]')
  expect(sent.flat()).toEqual([])
})

test('an image that comes with a long text is kept, and the text is cut in its middle', async () => {
  const image = { media_type: 'image/png', width: 20, height: 10, content: PICTURE } as const
  const output = `a${'x'.repeat(40_000)}z`
  const put = async () => 'a'.repeat(64)
  const outcome = { output, image, exitCode: 0, outcome: 'ok' } as const
  const kept = await recordedOutput(outcome, { put }, false)
  expect(kept).toMatchObject({ sha256: 'a'.repeat(64), bytes: PICTURE.length, truncated: true })
  expect(kept.output).toMatch(
    /^ax+\n\[… \d+ of 40002 bytes are left out here; they are not kept, .*…\]\nx+z$/,
  )
  const lost = await recordedOutput(outcome, { put: () => Promise.reject(new Error()) }, false)
  expect(lost).toMatchObject({ sha256: null })
  expect(lost.output).toMatch(/The image is not shown, because it could not be kept\.$/)
  expect(lost).not.toHaveProperty('image')
})
