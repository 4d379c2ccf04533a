import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { maxOutputTokens } from '../../../src/agent/model/known-models.ts'
import { readPriceFile } from '../../../src/agent/model/price-file.ts'
import { contextWindow, priceOf } from '../../../src/agent/model/prices.ts'
import { route } from '../../../src/agent/model/routing.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-prices-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function read(content: string) {
  const file = join(folder, 'prices.yml')
  await writeFile(file, content)
  return readPriceFile(file)
}

const usage = { inputTokens: 1_000_000, cachedInputTokens: 0, outputTokens: 1_000_000 }
const usdOf = (...args: Parameters<typeof priceOf>) => priceOf(...args)?.usd ?? null

describe('RETRAI_PRICES', () => {
  test('adds prices and windows, in YAML or JSON', async () => {
    const yaml = `
models:
  my-model:
    input_usd_per_mtok: 2
    output_usd_per_mtok: 8
    cached_input_usd_per_mtok: 0.5
    context_window: 200000
  dashscope/qwen3.8-max: { context_window: 262144, max_output_tokens: 32000 }
`
    const own = { ownModels: (await read(yaml))._unsafeUnwrap() }
    const at = { llmBaseUrl: 'http://127.0.0.1:9/v1' }
    const mine = route('my-model', { ...at, ...own })
    expect(priceOf(mine, usage)).toEqual({ usd: 10, source: 'file' })
    expect(usdOf(mine, { ...usage, cachedInputTokens: 1_000_000 })).toBe(8.5)
    expect(usdOf(mine, { ...usage, cacheWriteTokens: 1_000_000 })).toBe(10)
    expect(contextWindow(mine)).toBe(200_000)
    const qwen = route('dashscope/qwen3.8-max', own)
    expect(priceOf(qwen, usage)).toBeNull()
    expect(contextWindow(qwen)).toBe(262_144)
    expect(maxOutputTokens(qwen)).toBe(32_000)
    const json = '{"models":{"my-model":{"input_usd_per_mtok":1,"output_usd_per_mtok":1}}}'
    const ownModels = (await read(json))._unsafeUnwrap()
    expect(usdOf(route('my-model', { ...at, ownModels }), usage)).toBe(2)
  })

  test('corrects a known model, under either of its names', async () => {
    const prices = '{ input_usd_per_mtok: 1, output_usd_per_mtok: 1 }'
    for (const name of ['claude-opus-5', 'anthropic/claude-opus-5']) {
      const ownModels = (await read(`models: { ${name}: ${prices} }`))._unsafeUnwrap()
      for (const asked of ['claude-opus-5', 'anthropic/claude-opus-5']) {
        expect(usdOf(route(asked, { ownModels }), usage)).toBe(2)
      }
      // OpenRouter has prices of its own.
      const elsewhere = route('openrouter/anthropic/claude-opus-5', { ownModels })
      expect(usdOf(elsewhere, usage)).not.toBe(2)
    }
  })

  test('a local model can get a price', async () => {
    const models = await read(
      'models: { ollama/x: { input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.1 } }',
    )
    expect(usdOf(route('ollama/x', { ownModels: models._unsafeUnwrap() }), usage)).toBeCloseTo(
      0.2,
      9,
    )
  })

  test.each([
    [
      'models: { m: { input_usd_per_mtok: x, output_usd_per_mtok: 1 } }',
      'line 1: models › m › input_usd_per_mtok must be a number of US dollars',
    ],
    [
      'models:\n  m:\n    output_usd_per_mtok: 1\n    input_usd_per_mtok: -1',
      'line 4: models › m › input_usd_per_mtok must not be negative',
    ],
    [
      'models:\n\n  m: { input_usd_per_mtok: 1 }',
      'line 3: models › m › output_usd_per_mtok is missing: a price needs it',
    ],
    [
      '{"models": {\n"m": {"price": 1}\n}}',
      'line 2: models › m › price is not a field. The fields are: input_usd_per_mtok, output_',
    ],
    [
      'models: { m: { context_window: 0 } }',
      'line 1: models › m › context_window must be more than 0',
    ],
    ['models:\n  m: 5', 'line 2: models › m must have fields, such as `context_window: 200000`'],
    ['# mine\nprices: {}', 'line 2: prices is not a field. The fields are: models'],
    ['- m', 'line 1: the file must have a list of models, as in `models: {}`'],
    ['', 'line 1: the file must have a list of models, as in `models: {}`'],
    ['{}', 'line 1: models must have a list of models, as in `models: {}`'],
  ])('%j is refused, with the file, the line and the field', async (content, message) => {
    const error = (await read(content))._unsafeUnwrapErr()
    expect(error).toContain(`RETRAI_PRICES: the file ${join(folder, 'prices.yml')} is not valid:`)
    expect(error).toContain(`  ${message}`)
  })

  test('a file that is missing or is not YAML is named', async () => {
    const missing = join(folder, 'none.yml')
    expect((await readPriceFile(missing))._unsafeUnwrapErr()).toMatch(
      /^RETRAI_PRICES: the file .*none\.yml cannot be read: ENOENT/,
    )
    expect((await read('models: {'))._unsafeUnwrapErr()).toContain('cannot be read: ')
  })
})
