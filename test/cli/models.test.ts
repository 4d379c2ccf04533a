import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ServerProcess } from '../../examples/demo/server.ts'
import { cleanEnv, retrai, startServer } from './support.ts'

const PRICES = 'models: { ollama/mine: { input_usd_per_mtok: 1, output_usd_per_mtok: 2 } }\n'

let folder: string
let server: ServerProcess
let env: NodeJS.ProcessEnv
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-models-'))
  await writeFile(join(folder, 'prices.yml'), PRICES)
  await writeFile(join(folder, '.retrai.yml'), 'check_command: "false"\n')
  server = await startServer(['--port', '0', '--data-dir', join(folder, '..', `${folder}-data`)], {
    ...cleanEnv(),
    DASHSCOPE_API_KEY: 'sk-no-key-of-anybody',
    // Nothing listens there, so no request leaves this machine.
    OLLAMA_HOST: 'http://127.0.0.1:9',
    RETRAI_MODEL: 'ollama/mine',
    RETRAI_PRICES: join(folder, 'prices.yml'),
    RETRAI_ISOLATION: 'none',
  })
  env = { ...cleanEnv(), RETRAI_SERVER: server.url }
})
afterAll(async () => {
  await server.stop()
  for (const path of [folder, `${folder}-data`]) await rm(path, { recursive: true, force: true })
})

const cli = (...args: string[]) => retrai(args, env)

describe('retrai models', () => {
  test('lists the models that can be called, the default first', async () => {
    const { code, stdout, stderr } = await cli('models')
    expect(code).toBe(0)
    const [head, first] = stdout.split('\n')
    expect(head).toMatch(/^MODEL +WINDOW +OUTPUT +\$\/M IN/)
    expect(first).toMatch(/^ollama\/mine \* +66k +\? +1 +1 +2 +\?$/)
    expect(stderr).toMatch(/^\d+ more models cannot be called/)
    const all = await cli('models', '--all')
    expect(all.stdout).toMatch(/^xai\/grok-4\.5 .* low medium high +XAI_API_KEY$/m)
  })

  test('--json prints all of them', async () => {
    const { stdout } = await cli('models', '--json')
    const models = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
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
    cli('run', 'shell-goal', '--cwd', folder, '--detach', '--json', ...args)

  test('can be given to a run, are shown, and can be changed while it works', async () => {
    const started = await run(
      ...['--effort', 'high', '--max-output-tokens', '9000', '--fallback', 'dashscope/x'],
      ...['--max-cost-usd', '1', '--model', 'ollama/mine'],
    )
    expect(started.stderr).toContain('The price of "dashscope/x" is not known')
    const good = await run(
      '--effort',
      'high',
      '--max-output-tokens',
      '9000',
      '--fallback',
      'ollama/b,ollama/c',
    )
    expect(good.code).toBe(0)
    const { run_id } = JSON.parse(good.stdout)
    expect(JSON.parse((await cli('show', run_id, '--json')).stdout)).toMatchObject({
      reasoning_effort: 'high',
      max_output_tokens: 9000,
      fallback_models: ['ollama/b', 'ollama/c'],
    })
    const changed = await cli('configure', run_id, '--effort', 'default', '--fallback', 'ollama/d')
    expect(changed.stdout).toBe(`${run_id} running\n`)
    const shown = await cli('show', run_id)
    expect(shown.stdout).toMatch(/^fallbacks +ollama\/d$/m)
    expect(shown.stdout).not.toMatch(/^effort/m)
    const wrong = await cli('configure', run_id, '--model', 'claude-opus-5')
    expect([wrong.code, wrong.stderr]).toEqual([3, expect.stringContaining('ANTHROPIC_API_KEY')])
    await cli('abort', run_id)
  })

  test('are refused by name if they are not valid', async () => {
    expect((await run('--effort', 'huge')).stderr).toContain('Allowed choices are none, minimal')
    expect((await run('--fallback', 'a,,b')).stderr).toContain('Give names with commas')
  })
})

test('a server with a wrong RETRAI_PRICES does not start, and names the field', async () => {
  const file = join(folder, 'wrong.yml')
  await writeFile(file, 'models: { m: { price: 1 } }')
  const { code, stderr } = await retrai(
    ['serve', '--port', '0', '--data-dir', `${folder}-data-2`],
    { ...cleanEnv(), RETRAI_PRICES: file },
  )
  expect(code).toBe(1)
  expect(stderr).toContain(`RETRAI_PRICES: the file ${file} is not valid:`)
  expect(stderr).toContain('line 1: models › m › price is not a field. The fields are: ')
})
