import { expect } from 'vitest'
import { CheckpointWriter } from '../../src/checkpoints/checkpoint-writer.ts'
import { FollowedCheckpoints } from '../../src/checkpoints/followed-checkpoints.ts'
import { openKeyring } from '../../src/checkpoints/keyring.ts'
import { checkSeal, knownKeys } from '../../src/checkpoints/public-keys.ts'
import { createClient } from '../../src/client/index.ts'
import { includes } from '../audit/inclusion.ts'
import { CLAIM, iteration, type TestServer } from '../support/server.ts'
import { test } from '../support/test.ts'

const UNKNOWN = '550e8400-e29b-41d4-a716-446655440000'
let runId: string
test.beforeAll(async ({ server }) => {
  runId = await server.createRun()
  await server.agentDoes(runId, CLAIM, ...iteration(true))
  expect(await server.readModel.waitFor(runId, 5, 5000)).toBe(true)
})

const audit = (server: TestServer) => createClient({ baseUrl: server.url }).audit
const keysOf = async (server: TestServer) => {
  const keys = (await audit(server).keys())._unsafeUnwrap()
  return knownKeys({ keys })
}

test('a proof is signed by a key of the server, even if it has fields that this client does not know', async ({
  server,
}) => {
  const proof = (await audit(server).proof(runId))._unsafeUnwrap()
  expect(proof).toMatchObject({ run_id: runId, last_kind: 'run_end' })
  expect(checkSeal(proof, await keysOf(server))).toBe('good')
  const none = (await audit(server).proof(UNKNOWN))._unsafeUnwrapErr()
  expect(none).toMatchObject({ type: 'refused', code: 'run_not_found' })

  const newer = { ...proof, mood: 'cheerful' }
  const { audit: ofNewer } = createClient({
    baseUrl: server.url,
    fetch: async () => Response.json(newer),
  })
  expect((await ofNewer.proof(runId))._unsafeUnwrap()).toEqual(newer)
})

test('checkpoints can be listed, and prove that they cover a run', async ({ server }) => {
  expect((await audit(server).checkpoint('latest'))._unsafeUnwrapErr()).toMatchObject({
    code: 'checkpoint_not_found',
  })
  const state = server.readModel.get(runId)
  const head = { run_id: runId, length: (state?.state.seq ?? 0) + 1, head: state?.head ?? '' }
  const keyring = (await openKeyring(server.keys, () => new Date()))._unsafeUnwrap()
  const writer = new CheckpointWriter({
    store: server.store,
    keyring,
    clock: () => new Date(),
    runs: { heads: (after) => (after === '' ? [head] : []) },
    followed: new FollowedCheckpoints(server.store, keyring),
  })
  const written = (await writer.write())._unsafeUnwrap()
  expect((await audit(server).checkpoints())._unsafeUnwrap()).toEqual([written])
  expect((await audit(server).checkpoints({ after: 0 }))._unsafeUnwrap()).toEqual([])
  expect((await audit(server).checkpoint(0))._unsafeUnwrap()).toEqual(written)
  const inclusion = (await audit(server).inclusion('latest', runId))._unsafeUnwrap()
  expect(inclusion).toMatchObject({ checkpoint: written, leaf: head })
  expect(includes(inclusion)).toBe(true)
})
