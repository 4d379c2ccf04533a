import { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unpacked } from '../../src/audit/bundle/tar.ts'
import { CheckpointWriter } from '../../src/audit/checkpoints/checkpoint-writer.ts'
import { includes } from '../../src/audit/checkpoints/run-heads.ts'
import { openKeyring } from '../../src/audit/proofs/keyring.ts'
import { knownKeys } from '../../src/audit/proofs/public-keys.ts'
import { checkSeal } from '../../src/audit/proofs/statements.ts'
import { verifyBundle } from '../../src/audit/verify/verify-bundle.ts'
import { createClient } from '../../src/client/index.ts'
import {
  agentDoes,
  CLAIM,
  createRun,
  iteration,
  startTestServer,
  type TestServer,
} from '../http/support.ts'

const UNKNOWN = '550e8400-e29b-41d4-a716-446655440000'
let server: TestServer
let runId: string
beforeAll(async () => {
  server = await startTestServer()
  runId = await createRun(server)
  await agentDoes(server, runId, CLAIM, ...iteration(true))
  expect(await server.readModel.waitFor(runId, 5, 5000)).toBe(true)
})
afterAll(() => server.stop())

const audit = () => createClient({ baseUrl: server.url }).audit
const keysOf = async () => {
  const keys = (await audit().keys())._unsafeUnwrap()
  return knownKeys({ keys })
}

test('a proof is signed by a key of the server, even if it has fields that this client does not know', async () => {
  const proof = (await audit().proof(runId))._unsafeUnwrap()
  expect(proof).toMatchObject({ run_id: runId, last_kind: 'run_end' })
  expect(checkSeal(proof, await keysOf())).toBe('good')
  const none = (await audit().proof(UNKNOWN))._unsafeUnwrapErr()
  expect(none).toMatchObject({ type: 'refused', code: 'run_not_found' })

  const newer = { ...proof, mood: 'cheerful' }
  const { audit: ofNewer } = createClient({
    baseUrl: server.url,
    fetch: async () => Response.json(newer),
  })
  expect((await ofNewer.proof(runId))._unsafeUnwrap()).toEqual(newer)
})

test('an export arrives as a stream, and holds', async () => {
  const body = (await audit().export(runId))._unsafeUnwrap()
  const anchors = { keys: await keysOf(), fingerprints: new Set<string>() }
  const archive = unpacked(Readable.fromWeb(body))
  expect(await verifyBundle(archive, { anchors })).toMatchObject({ holds: true, run_id: runId })
  const none = (await audit().export(UNKNOWN))._unsafeUnwrapErr()
  expect(none).toMatchObject({ type: 'refused', code: 'run_not_found' })
})

test('checkpoints can be listed, and prove that they cover a run', async () => {
  expect((await audit().checkpoint('latest'))._unsafeUnwrapErr()).toMatchObject({
    code: 'checkpoint_not_found',
  })
  const state = server.readModel.get(runId)
  const head = { run_id: runId, length: (state?.state.seq ?? 0) + 1, head: state?.head ?? '' }
  const writer = new CheckpointWriter({
    store: server.store,
    runs: { takeChanged: () => null, heads: (after) => (after === '' ? [head] : []) },
    keyring: (await openKeyring(server.keys, () => new Date()))._unsafeUnwrap(),
    clock: () => new Date(),
  })
  const written = (await writer.write())._unsafeUnwrap()
  expect((await audit().checkpoints())._unsafeUnwrap()).toEqual([written])
  expect((await audit().checkpoints({ after: 0 }))._unsafeUnwrap()).toEqual([])
  expect((await audit().checkpoint(0))._unsafeUnwrap()).toEqual(written)
  const inclusion = (await audit().inclusion('latest', runId))._unsafeUnwrap()
  expect(inclusion).toMatchObject({ checkpoint: written, leaf: head })
  expect(includes(inclusion)).toBe(true)
})
