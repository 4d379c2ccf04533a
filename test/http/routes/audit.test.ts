import { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod'
import { Checkpoint, InclusionProof, PublishedKeys, RunProof } from '../../../src/api/audit.ts'
import { unpacked } from '../../../src/audit/bundle/tar.ts'
import { CheckpointWriter } from '../../../src/audit/checkpoints/checkpoint-writer.ts'
import { includes } from '../../../src/audit/checkpoints/run-heads.ts'
import { openKeyring } from '../../../src/audit/proofs/keyring.ts'
import { knownKeys } from '../../../src/audit/proofs/public-keys.ts'
import { checkSeal } from '../../../src/audit/proofs/statements.ts'
import { verifyBundle } from '../../../src/audit/verify/verify-bundle.ts'
import {
  agentDoes,
  CLAIM,
  createRun,
  iteration,
  startTestServer,
  type TestServer,
} from '../support.ts'

let server: TestServer
let runId: string
beforeAll(async () => {
  server = await startTestServer()
  runId = await createRun(server)
  await agentDoes(server, runId, CLAIM, ...iteration(true))
  expect(await server.readModel.waitFor(runId, 5, 5000)).toBe(true)
})
afterAll(() => server.stop())

const get = (path: string) => fetch(`${server.url}${path}`)
const read = async <T>(path: string, schema: z.ZodType<T>): Promise<T> => {
  const answer = await get(path)
  expect(answer.status, path).toBe(200)
  return schema.parse(await answer.json())
}
const Problem = z.object({ type: z.string() })
const problemAt = async (path: string) => Problem.parse(await (await get(path)).json()).type

test('a proof names the last record, and is signed with a published key', async () => {
  const keys = knownKeys(await read('/api/keys', PublishedKeys))
  const proof = await read(`/api/runs/${runId.toUpperCase()}/proof`, RunProof)
  const state = server.readModel.get(runId)
  expect(proof).toMatchObject({
    run_id: runId,
    length: (state?.state.seq ?? 0) + 1,
    head: state?.head,
    last_kind: 'run_end',
  })
  expect(checkSeal(proof, keys)).toBe('good')
  expect(checkSeal({ ...proof, length: proof.length - 1 }, keys)).toBe('bad')
})

test('an export is a file that the same keys verify', async () => {
  const answer = await get(`/api/runs/${runId}/export`)
  expect(answer.headers.get('content-type')).toBe('application/gzip')
  expect(answer.headers.get('content-disposition')).toContain(`retrai-run-${runId}.tar.gz`)
  const archive = Readable.from([Buffer.from(await answer.arrayBuffer())])
  const keys = knownKeys(await read('/api/keys', PublishedKeys))
  const anchors = { keys, fingerprints: new Set<string>() }
  expect(await verifyBundle(unpacked(archive), { anchors })).toMatchObject({
    holds: true,
    trust: 'trusted',
    complete: true,
    run_id: runId,
  })
})

test('unknown runs, checkpoints and ledgers are 404', async () => {
  for (const what of ['proof', 'export']) {
    for (const id of ['550e8400-e29b-41d4-a716-446655440000', 'nonsense']) {
      expect(await problemAt(`/api/runs/${id}/${what}`)).toBe('urn:retrai:problem:run_not_found')
    }
  }
  for (const number of ['latest', '0', '-1', 'x', '99999999999999999999']) {
    for (const what of ['', '/runs', `/runs/${runId}`]) {
      const type = await problemAt(`/api/checkpoints/${number}${what}`)
      expect(type).toBe('urn:retrai:problem:checkpoint_not_found')
    }
  }
  expect(await read('/api/checkpoints', z.array(Checkpoint))).toEqual([])
})

test('checkpoints are listed with their runs, and a proof shows that a checkpoint covers a run', async () => {
  const own = await startTestServer()
  try {
    const id = await createRun(own)
    const state = own.readModel.get(id)
    const head = { run_id: id, length: (state?.state.seq ?? 0) + 1, head: state?.head ?? '' }
    const keyring = (await openKeyring(own.keys, () => new Date()))._unsafeUnwrap()
    const writer = new CheckpointWriter({
      store: own.store,
      runs: { takeChanged: () => null, heads: (after) => (after === '' ? [head] : []) },
      keyring,
      clock: () => new Date(),
    })
    const written = (await writer.write())._unsafeUnwrap()
    const at = async (path: string) => (await fetch(`${own.url}/api/checkpoints${path}`)).json()
    expect(await at('')).toEqual([written])
    expect(await at('?after=0')).toEqual([])
    expect(await at('/0')).toEqual(written)
    expect(await at('/latest/runs')).toEqual(head)
    const proof = InclusionProof.parse(await at(`/latest/runs/${id}`))
    expect(proof).toMatchObject({ checkpoint: written, leaf: head })
    expect(includes(proof)).toBe(true)
    expect(await at(`/latest/runs/${runId}`)).toMatchObject({
      type: 'urn:retrai:problem:run_not_found',
    })
  } finally {
    await own.stop()
  }
})
