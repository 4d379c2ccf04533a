import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import type { ModelRequest, Models } from '../../../src/models/model.ts'
import { only, PRICES, pricedModels, Workshop } from '../support.ts'

const USEFUL = 4_096

/** Models at the script's endpoint that have a price, and the requests that they were sent. */
function priced(url: string) {
  const models = pricedModels(url)
  const sent: ModelRequest[] = []
  const complete: Models['complete'] = (request, ...others) => {
    sent.push(request)
    return models.complete(request, ...others)
  }
  return { sent, models: { ...models, complete } }
}

/** Works without an end, and never says that it is done. */
const busy: Script = ({ turn }) => ({
  calls: [{ tool: 'bash_exec', args: { command: `printf '${turn}%0999d'; touch ${turn}` } }],
})

async function runWith(max_cost_usd: number, script: Script = busy) {
  await using shop = await Workshop.open(script)
  const { sent, models } = priced(shop.url)
  shop.startAgent({ effects: { models } })
  const limits = { max_turns_per_iteration: 200, max_iterations: 3, max_cost_usd }
  const records = await shop.until(await shop.create(limits), 'run_end')
  return { records, sent, end: only(records, 'run_end').payload }
}

test('a run ends before a request that could pass its limit of cost, not after it', async () => {
  const { records, sent, end } = await runWith(1.2)
  expect(sent.length).toBeGreaterThan(2)
  expect(end.reason).toMatch(/max_cost_usd: \$[\d.]+ of \$1\.2 are spent, and the next request may/)
  expect(end.estimated_cost_usd).toBeLessThan(1.2)
  let spent = 0
  const costs = records.flatMap((one) =>
    one.kind === 'llm_usage' ? (one.payload.cost_usd ?? 0) : [],
  )
  for (const [at, cost] of costs.entries()) {
    const { maxOutputTokens = 0 } = sent[at] ?? {}
    expect(maxOutputTokens).toBeGreaterThanOrEqual(USEFUL)
    const longest = (maxOutputTokens * PRICES.output_usd_per_mtok) / 1_000_000
    expect(spent + longest).toBeLessThanOrEqual(1.2)
    spent += cost
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
