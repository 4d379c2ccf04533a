import { expect } from 'vitest'
import * as z from 'zod'
import { Checkpoint } from '../../../src/api/audit.ts'
import { CLAIM, iteration, type TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'

let runId: string
test.beforeAll(async ({ server }) => {
  runId = await server.createRun()
  await server.agentDoes(runId, CLAIM, ...iteration(true))
  expect(await server.readModel.waitFor(runId, 5, 5000)).toBe(true)
})

const get = (server: TestServer, path: string) => fetch(`${server.url}${path}`)
const read = async <T>(server: TestServer, path: string, schema: z.ZodType<T>): Promise<T> => {
  const answer = await get(server, path)
  expect(answer.status, path).toBe(200)
  return schema.parse(await answer.json())
}
const Problem = z.object({ type: z.string() })
const problemAt = async (server: TestServer, path: string) =>
  Problem.parse(await (await get(server, path)).json()).type

test('unknown runs, checkpoints and ledgers are 404', async ({ server }) => {
  for (const what of ['proof', 'export']) {
    for (const id of ['550e8400-e29b-41d4-a716-446655440000', 'nonsense']) {
      expect(await problemAt(server, `/api/runs/${id}/${what}`)).toBe(
        'urn:retrai:problem:run_not_found',
      )
    }
  }
  for (const number of ['latest', '0', '-1', 'x', '99999999999999999999']) {
    for (const what of ['', '/runs', `/runs/${runId}`]) {
      const type = await problemAt(server, `/api/checkpoints/${number}${what}`)
      expect(type).toBe('urn:retrai:problem:checkpoint_not_found')
    }
  }
  expect(await read(server, '/api/checkpoints', z.array(Checkpoint))).toEqual([])
})
