import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { createComplete } from '../../../src/agent/model/complete.ts'
import { askedRoutes } from '../../../src/agent/model/discovery.ts'
import type { ModelRequest } from '../../../src/agent/model/model.ts'
import type { ModelSettings } from '../../../src/agent/model/routing.ts'

const MODELS = pathToFileURL(join(import.meta.dirname, '../../../src/agent/model/models.ts'))
const besides = (name: string) => JSON.stringify(new URL(name, MODELS).href)

/**
 * The SDKs and price lists that a process loads when it asks this model, at addresses where nothing answers. To plan a
 * run without a limit of its cost, it loads none.
 */
async function loadedBy(modelName: string): Promise<string[]> {
  const script = `
    import { registerHooks } from 'node:module'
    const loaded = new Set()
    registerHooks({
      resolve(specifier, context, next) {
        const found = next(specifier, context)
        const [, name] = /node_modules\\/(openai|@anthropic-ai\\/sdk|@pydantic\\/genai-prices)\\//.exec(found.url) ?? []
        if (name) loaded.add(name)
        return found
      },
    })
    const { createModels } = await import(${JSON.stringify(MODELS.href)})
    const models = createModels({ openaiBaseUrl: 'http://127.0.0.1:9/v1', openaiApiKey: 'k', anthropicApiKey: 'k' })
    const { createCatalogue } = await import(${besides('catalogue.ts')})
    const { modelProblems } = await import(${besides('../model-problems.ts')})
    const choice = { model_name: ${JSON.stringify(modelName)}, max_cost_usd: null, max_output_tokens: 1 }
    const problems = await modelProblems(choice, createCatalogue({ openaiApiKey: 'k', anthropicApiKey: 'k' }))
    if (problems.length > 0) throw new Error(JSON.stringify(problems))
    const before = [...loaded]
    const request = { modelName: ${JSON.stringify(modelName)}, messages: [], tools: [] }
    const stop = new AbortController()
    const outcome = models.complete(request, stop.signal)
    setTimeout(() => stop.abort(), 20_000).unref()
    if (request.modelName.startsWith('claude')) await import(${besides('adapters/messages.ts')}).then(() => stop.abort())
    await outcome
    console.log(JSON.stringify([before, [...loaded]]))`
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    '--input-type=module',
    '-e',
    script,
  ])
  const [before, after] = JSON.parse(stdout)
  expect(before).toEqual([])
  return after
}

test('a model whose adapter cannot be loaded now is asked again later', async () => {
  const complete = createComplete({
    routeOf: askedRoutes({ openaiApiKey: 'k' } as ModelSettings),
    keys: [],
    deadlines: { totalMs: 1, firstMs: 1, silenceMs: 1 },
    adapterOf: () => Promise.reject(new Error('EMFILE: too many open files')),
  })
  const request = { modelName: 'gpt-5' } as ModelRequest
  const outcome = await complete(request, new AbortController().signal, () => {})
  expect(outcome._unsafeUnwrapErr()).toMatchObject({
    type: 'transient',
    message: expect.stringContaining('too many open files'),
  })
})

test('a server loads the SDK of a provider when a model of it is asked, and no other', async () => {
  const prices = '@pydantic/genai-prices'
  expect((await loadedBy('gpt-5')).sort()).toEqual([prices, 'openai'])
  expect((await loadedBy('claude-opus-5-5')).sort()).toEqual(['@anthropic-ai/sdk', prices])
}, 60_000)
