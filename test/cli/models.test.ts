import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Site } from '../support/site.ts'
import { cleanEnv, jsonLines, retrai } from './support.ts'

const PRICES = 'models: { ollama/mine: { input_usd_per_mtok: 1, output_usd_per_mtok: 2 } }\n'

let site: Site
let cwd: string
let env: NodeJS.ProcessEnv
beforeAll(async () => {
  site = await Site.open()
  cwd = await site.project()
  const server = await site.serve('data', {
    env: {
      DASHSCOPE_API_KEY: 'sk-no-key-of-anybody',
      // Nothing listens there, so no request leaves this machine.
      OLLAMA_HOST: 'http://127.0.0.1:9',
      RETRAI_LLM_BASE_URL: '',
      RETRAI_MODEL: 'ollama/mine',
      RETRAI_PRICES: await site.write('prices.yml', PRICES),
    },
  })
  env = { ...cleanEnv(), RETRAI_SERVER: server.url }
})
afterAll(() => site.close())

const cli = (...args: string[]) => retrai(args, env)

describe('retrai models', () => {
  test('lists the models that can be called, the default first', async () => {
    const { code, stdout, stderr } = await cli('models')
    expect(code).toBe(0)
    const [head, first] = stdout.split('\n')
    expect(head).toMatch(/^MODEL +WINDOW +OUTPUT +\$\/M IN/)
    expect(first).toMatch(/^ollama\/mine \* +66k +\? +1 +1 +2 +\?$/)
    expect(stderr).toMatch(/^\d+ more models cannot be called/)
  })

  test('--json prints all of them', async () => {
    const models = jsonLines(await cli('models', '--json'))
    expect(models[0]).toEqual({
      name: 'ollama/mine',
      provider: 'ollama',
      is_default: true,
      problem: null,
      key_variable: null,
      key_set: false,
      context_window: 65_536,
      max_output_tokens: null,
      prices: {
        input_usd_per_mtok: 1,
        output_usd_per_mtok: 2,
        cached_input_usd_per_mtok: 1,
        cache_write_usd_per_mtok: 1,
      },
      reasoning_efforts: null,
    })
    expect(models.some(({ problem }) => problem !== null)).toBe(true)
  })
})

describe('the settings of models', () => {
  const run = (...args: string[]) =>
    cli('run', 'shell-goal', '--cwd', cwd, '--detach', '--json', ...args)

  test('can be given to a run, are shown, and can be changed while it works', async () => {
    const high = ['--set', 'reasoning_effort=high', '--model', 'ollama/mine']
    const priced = ['--set', 'fallback_models=["dashscope/x"]', '--max-cost-usd', '1']
    const started = await run(...high, ...priced)
    expect(started.stderr).toContain('The price of "dashscope/x" is not known')
    const good = await run(...high, '--set', 'fallback_models=ollama/b,ollama/c')
    expect(good.code).toBe(0)
    const { run_id } = JSON.parse(good.stdout)
    expect(JSON.parse((await cli('show', run_id, '--json')).stdout)).toMatchObject({
      reasoning_effort: 'high',
      fallback_models: ['ollama/b', 'ollama/c'],
    })
    const changes = ['--set', 'reasoning_effort=null', '--set', 'fallback_models=ollama/d']
    const changed = await cli('configure', run_id, ...changes)
    expect(changed.stdout).toBe(`${run_id} running\n`)
    const shown = await cli('show', run_id)
    expect(shown.stdout).toMatch(/^fallbacks +ollama\/d$/m)
    expect(shown.stdout).not.toMatch(/^effort/m)
    const wrong = await cli('configure', run_id, '--model', 'claude-opus-5')
    expect([wrong.code, wrong.stderr]).toEqual([3, expect.stringContaining('ANTHROPIC_API_KEY')])
    await cli('abort', run_id)
  })
})
