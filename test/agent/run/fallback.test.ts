import { errAsync } from 'neverthrow'
import { expect, test } from 'vitest'
import type { ScriptedRequest, Turn } from '../../../examples/scripted-model/script.ts'
import type { ModelRequest, Models } from '../../../src/models/model.ts'
import { payloadsOf, played, reachGoal, Workshop } from '../support.ts'

/** `broken` never answers, `forbidden` refuses, the others reach the goal in their second turn. */
function play({ model, turn }: ScriptedRequest): Turn | { status: number; body?: unknown } {
  if (model === 'broken') return { status: 503 }
  if (model === 'forbidden') return { status: 403, body: { error: 'no such right' } }
  return turn === 0 ? { text: 'I look.' } : { calls: [reachGoal] }
}

test('after all attempts with a model, the run continues with the next one, and stays with it', async () => {
  const asked = { model_name: 'broken', fallback_models: ['forbidden', 'sound'] }
  const { shop, records, end } = await played(play, asked)
  const switched = payloadsOf(records, 'llm_retry').filter(({ fallback }) => fallback)
  expect(switched).toEqual([
    {
      attempt: 4,
      reason: expect.stringContaining('503'),
      delay_ms: 0,
      failure: 'overloaded',
      fallback: { from: 'broken', to: 'forbidden' },
    },
    {
      attempt: 1,
      delay_ms: 0,
      failure: 'refused',
      reason: expect.stringContaining('no such right'),
      fallback: { from: 'forbidden', to: 'sound' },
    },
  ])
  const paid = payloadsOf(records, 'llm_usage').map(({ model_name }) => model_name)
  expect(paid).toEqual(['sound', 'sound'])
  expect(shop.requests.map(({ model }) => model)).toEqual([
    'broken',
    'broken',
    'broken',
    'broken',
    'forbidden',
    'sound',
    'sound',
  ])
  expect(end.status).toBe('achieved')
})

test('if the last model refuses too, the run fails with its reason; if it is away, it is waited for', async () => {
  await using shop = await Workshop.open(play)
  const records = await shop.play({ model_name: 'broken', fallback_models: ['forbidden'] })
  const failure = records.find(({ kind }) => kind === 'error')
  expect(failure?.payload).toMatchObject({ message: expect.stringContaining('no such right') })
  const waiting = await shop.create({ model_name: 'forbidden', fallback_models: ['broken'] })
  const retries = await shop.until(waiting, 'llm_retry', 12)
  expect(retries.at(-1)?.payload).toMatchObject({ failure: 'overloaded' })
})

test('a model that a person chooses while another one refuses is asked next', async () => {
  const asked = Promise.withResolvers<void>()
  const changed = Promise.withResolvers<void>()
  await using shop = await Workshop.open(async (request) => {
    if (request.model !== 'forbidden') return play(request)
    asked.resolve()
    await changed.promise
    return play(request)
  })
  shop.startAgent()
  const runId = await shop.create({ model_name: 'forbidden' })
  await asked.promise
  await shop.command(runId, { type: 'configure', changes: { model_name: 'sound' } })
  changed.resolve()
  const records = await shop.until(runId, 'run_end')
  expect(records.at(-1)?.payload).toMatchObject({ status: 'achieved' })
  expect(records.filter(({ kind }) => kind === 'llm_retry')).toHaveLength(1)
})

test('effort and the limit of replies reach the model', async () => {
  await using shop = await Workshop.open([])
  const asked: ModelRequest[] = []
  const models: Models = {
    complete: (request) => {
      asked.push(request)
      return errAsync({ type: 'refused', message: 'enough' })
    },
    contextBudget: async () => 1_000,
  }
  shop.startAgent({ effects: { models } })
  for (const [reasoning_effort, max_output_tokens] of [
    ['high', 9_000],
    [null, null],
  ] as const) {
    await shop.until(await shop.create({ reasoning_effort, max_output_tokens }), 'run_end')
  }
  expect(asked[0]).toMatchObject({ effort: 'high', maxOutputTokens: 9_000 })
  expect(asked[1]).not.toHaveProperty('effort')
  expect(asked[1]).not.toHaveProperty('maxOutputTokens')
})
