import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import type { ModelRequest, Models } from '../../../src/models/model.ts'
import { only, PRICES, payloadsOf, played, pricedModels, type Workshop } from '../support.ts'

const USEFUL = 4_096

/** Works without an end, and never says that it is done. */
const busy: Script = ({ turn }) => ({
  calls: [{ tool: 'bash_exec', args: { command: `printf '${turn}%0999d'; touch ${turn}` } }],
})

/** A run with this limit, and the requests that its model was sent. */
async function runWith(max_cost_usd: number, script: Script = busy) {
  const sent: ModelRequest[] = []
  const effects = ({ url }: Workshop) => {
    const models = pricedModels(url)
    const complete: Models['complete'] = (request, ...others) => {
      sent.push(request)
      return models.complete(request, ...others)
    }
    return { models: { ...models, complete } }
  }
  const limits = { max_turns_per_iteration: 200, max_iterations: 3, max_cost_usd }
  return { sent, ...(await played(script, limits, effects)) }
}

test('a run ends before a request that could pass its limit of cost, not after it', async () => {
  const { records, sent, end } = await runWith(1.2)
  expect(sent.length).toBeGreaterThan(2)
  expect(end.reason).toMatch(/max_cost_usd: \$[\d.]+ of \$1\.2 are spent, and the next request may/)
  expect(end.estimated_cost_usd).toBeLessThan(1.2)
  let spent = 0
  for (const [at, { cost_usd }] of payloadsOf(records, 'llm_usage').entries()) {
    const { maxOutputTokens = 0 } = sent[at] ?? {}
    expect(maxOutputTokens).toBeGreaterThanOrEqual(USEFUL)
    const longest = (maxOutputTokens * PRICES.output_usd_per_mtok) / 1_000_000
    expect(spent + longest).toBeLessThanOrEqual(1.2)
    spent += cost_usd ?? 0
  }
  // The work is checked, and its summary must not pass the limit either.
  expect(only(records, 'run_summary').payload.source).toBe('log')
})

test('a run that could not pay for one request sends none', async () => {
  const { sent, end } = await runWith(0.1)
  expect(sent).toEqual([])
  expect(end).toMatchObject({ achieved: false, estimated_cost_usd: 0 })
})

test('a limit that is large enough changes no request', async () => {
  const { sent } = await runWith(50, () => ({ text: 'I stop.' }))
  expect(sent.every((request) => request.maxOutputTokens === undefined)).toBe(true)
})
