import { expect } from 'vitest'
import { test } from '../support/test.ts'
import { jsonLines } from './support.ts'

const PRICES = 'models: { ollama/mine: { input_usd_per_mtok: 1, output_usd_per_mtok: 2 } }\n'

test('retrai models lists the models that can be called, the default first; --json prints all of them', async ({
  site,
}) => {
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
  const { code, stdout, stderr } = await server.retrai('models')
  expect(code).toBe(0)
  const [head, first] = stdout.split('\n')
  expect(head).toMatch(/^MODEL +WINDOW +OUTPUT +\$\/M IN/)
  expect(first).toMatch(/^ollama\/mine \* +66k +\? +1 +1 +2 +\?$/)
  expect(stderr).toMatch(/^\d+ more models cannot be called/)
  const models = jsonLines(await server.retrai('models', '--json'))
  expect(models[0]).toMatchObject({ name: 'ollama/mine', is_default: true, problem: null })
  expect(models.some(({ problem }) => problem !== null)).toBe(true)
})
