import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import type { Effects } from '../../../src/agent/run/effects.ts'
import { withImages } from '../../../src/agent/run/model-request.ts'
import { recordedOutput } from '../../../src/agent/tools/recorded-output.ts'
import { compact } from '../../../src/domain/compaction.ts'
import type { Conversation } from '../../../src/domain/conversation.ts'
import { converse } from '../../../src/domain/converse.ts'
import type { RunRecord } from '../../../src/domain/records.ts'
import { messagesWithout, toMessages } from '../../../src/domain/sent-messages.ts'
import type { RunState } from '../../../src/domain/state.ts'
import { createModels } from '../../../src/models/models.ts'
import { sentConversation } from '../../../src/queries/run-history.ts'
import { claim, create, given, reply, result } from '../../domain/support.ts'
import { fixture, withServers } from '../../mcp/support.ts'
import { pngOf } from '../images.ts'
import { only, payloadsOf, reachGoal, Workshop } from '../support.ts'

const config = { max_turns_per_iteration: 50 }
const PICTURE = pngOf(20, 10, [0, 120, 0])
const look = { tool: 'file_read', args: { path: 'plot.png' } }

/** A model that may be shown images, and the agent that asks it. */
async function seeing(script: Script, images: boolean | null = true) {
  const shop = await Workshop.open(script)
  await writeFile(join(shop.project, 'plot.png'), PICTURE)
  const facts = { prices: undefined, windowTokens: undefined, maxOutputTokens: undefined }
  const models = createModels({
    RETRAI_LLM_BASE_URL: shop.url,
    ownModels: new Map([['scripted', images === null ? facts : { ...facts, images }]]),
  })
  const { artifacts } = shop
  const openOutput: Effects['openOutput'] = (_, sha256) => artifacts.read(sha256)
  const start = (changes: Partial<Effects> = {}) =>
    shop.startAgent({ effects: { models, openOutput, ...changes } })
  return { shop, models, artifacts, start }
}

/** Adds an MCP server to the agent, which sends images. */
function withPictures({ shop, models, artifacts }: Awaited<ReturnType<typeof seeing>>) {
  const openOutput: Effects['openOutput'] = (_, sha256) => artifacts.read(sha256)
  shop.startAgent({ effects: { ...withServers(), models, openOutput } })
  return { ...config, mcp_servers: [fixture('good')] }
}

const picturesOf = (word: string) => ({ tool: 'mcp__fix__picture', args: { word } })

/** The images in each request to the model. */
const imagesIn = (shop: Workshop): readonly (readonly string[])[] =>
  shop.requests.map(({ messages }) => messages.flatMap(({ images = [] }) => images))

const conversationOf = (records: readonly RunRecord[]): Conversation => {
  const whole = records.reduce<Conversation | null>(converse, null)
  if (whole === null) throw new Error('a run has records')
  return whole
}

/** How many images a request with all of it holds. */
const imagesOf = (conversation: Conversation): number =>
  messagesWithout(conversation, 0).filter((m) => m.role === 'tool' && m.image !== undefined).length

const resultOf = (records: readonly RunRecord[]) => payloadsOf(records, 'tool_result')[0]

test('an image is a part of every request after its result, and is counted in the records', async () => {
  const { shop, artifacts, start } = await seeing([
    { calls: [look] },
    { text: 'Green.' },
    { calls: [reachGoal] },
  ])
  await using _ = shop
  start()
  const runId = await shop.create(config)
  const records = await shop.until(runId, 'run_end')
  const url = `data:image/png;base64,${PICTURE.toString('base64')}`
  expect(imagesIn(shop).slice(0, 3)).toEqual([[], [url], [url]])
  const counts = records.flatMap((r) => (r.kind === 'llm_usage' ? [r.payload.images ?? 0] : []))
  expect(counts.slice(0, 3)).toEqual([0, 1, 1])
  const { sha256, image, output } = resultOf(records) ?? {}
  expect(image).toEqual({ media_type: 'image/png', width: 20, height: 10 })
  expect(output).toBe(`plot.png: PNG image, 20 × 10 pixels, ${PICTURE.length} bytes.`)
  const kept = await artifacts.read(sha256 ?? '')
  expect(kept && (await buffer(kept.stream)).equals(PICTURE)).toBe(true)
  const deps = { store: shop.store, contextBudget: async () => 96_000 }
  const last = (await sentConversation(runId, records.length - 3, deps))._unsafeUnwrap()
  expect(last.messages.filter((m) => m.role === 'tool')[0]).toMatchObject({ image: { sha256 } })
})

test.each([null, false])(
  'an endpoint of the user is sent no images if images is %s',
  async (images) => {
    const { shop, start } = await seeing([{ calls: [look] }, { calls: [reachGoal] }], images)
    await using _ = shop
    start()
    const records = await shop.until(await shop.create(config), 'run_end')
    expect(resultOf(records)?.output).toContain('takes no images')
    expect(imagesIn(shop).flat()).toEqual([])
  },
)

test('without its image, a result has a note: if it was removed, and if the model cannot see it', async () => {
  const { shop, models, artifacts, start } = await seeing([
    { calls: [look] },
    { text: 'Hm.' },
    { calls: [reachGoal] },
  ])
  await using _ = shop
  start()
  const records = await shop.until(await shop.create(config), 'run_end')
  const { messages } = toMessages(conversationOf(records), 96_000)
  const { config: own } = only(records, 'run_created').payload
  const state = { config: own, runId: 'r' } as RunState
  const openOutput = (_: string, sha256: string) => artifacts.read(sha256)
  const textWith = async (effects: Parameters<typeof withImages>[1]) => {
    const sent = await withImages(state, effects, messages)
    expect(sent.images).toBe(0)
    return JSON.stringify(sent.messages)
  }
  const blind = { ...models, imageTypes: async () => [] }
  expect(await textWith({ models: blind, openOutput })).toContain('takes no such images')
  await artifacts.remove(resultOf(records)?.sha256 ?? '')
  expect(await textWith({ models, openOutput })).toContain('it was removed')

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
  const opened = await seeing([
    { calls: [picturesOf('plot.png plot.png')] },
    { calls: [reachGoal] },
  ])
  await using shop = opened.shop
  const records = await shop.until(await shop.create(withPictures(opened)), 'run_end')
  const { sha256, image, output, bytes, outcome } = resultOf(records) ?? {}
  expect(image).toEqual({ media_type: 'image/png', width: 20, height: 10 })
  expect({ bytes, outcome }).toEqual({ bytes: PICTURE.length, outcome: 'ok' })
  const about = `PNG image, 20 × 10 pixels, ${PICTURE.length} bytes`
  expect(output?.split('\n')).toEqual([
    ...['Seen:', `[audio, audio/wav, ${PICTURE.length} bytes: not shown]`, `[${about}]`],
    `[${about}. It is not shown: a result holds one image.]`,
    `[resource file:///last, ${about}. It is not shown: a result holds one image.]`,
  ])
  const kept = await opened.artifacts.read(sha256 ?? '')
  expect(kept && (await buffer(kept.stream)).equals(PICTURE)).toBe(true)
  const url = `data:image/png;base64,${PICTURE.toString('base64')}`
  expect(imagesIn(shop).slice(0, 2)).toEqual([[], [url]])
})

test('an MCP image that the model cannot see is named, and the call succeeds', async () => {
  const opened = await seeing([{ calls: [picturesOf('plot.png')] }, { calls: [reachGoal] }], false)
  await using shop = opened.shop
  const records = await shop.until(await shop.create(withPictures(opened)), 'run_end')
  const { output, ...result } = resultOf(records) ?? {}
  expect(result).toMatchObject({ outcome: 'ok', sha256: null, truncated: false })
  expect(output).toContain('bytes. It is not shown: the model in use takes no images.]')
  expect(imagesIn(shop).flat()).toEqual([])
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
